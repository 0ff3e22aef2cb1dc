package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// unaryTimeout is how long CancelRun and GetRun may take.
const unaryTimeout = 5 * time.Second

// A reader reads a run to its end, over as many calls and cores as that takes.
type reader struct {
	cores       *cores
	spec        *pb.RunSpec           // the run to start; its request_id lets a start be repeated
	patience    time.Duration         // how long it is tried without contact
	show        func(*pb.Event) error // told each event once, in order
	say         func(string)          // told what is no part of the run
	known       chan string           // gets the run's id when it is known; has room for it
	cancelAfter int                   // cancel the run after so many text deltas; 0 for never

	at     position
	deltas int           // text deltas shown
	wait   time.Duration // how long a draining core asks us to wait
	tries  int           // calls without contact
	heard  time.Time     // when the last contact ended
}

// A response is what StreamRun and FollowRun send.
type response interface {
	GetRunId() string
	GetEvents() []*pb.Event
	GetControl() *pb.Control
}

// receive returns the next response of a stream.
type receive func() (response, error)

func receiving[R response](recv func() (R, error)) receive {
	return func() (response, error) { return recv() }
}

// read reads the run from its position to its end. It returns nil when the terminal event was shown.
func (r *reader) read(ctx context.Context) error {
	r.learn(r.at.runID)
	for {
		err := r.readOnce(ctx)
		if r.tries == 0 {
			r.heard = time.Now()
		}
		switch {
		case r.at.outcome != "":
			return nil
		case ctx.Err() != nil:
			return status.FromContextError(ctx.Err()).Err()
		case isFinal(err), r.at.runID == "" && r.cores.isOutOfReach():
			return err
		}
		pause := r.pause(err)
		if time.Since(r.heard)+pause > r.patience {
			return err
		}
		if r.tries == 0 && r.at.runID != "" {
			r.say(fmt.Sprintf("the stream broke off (%s): following the run again", status.Code(err)))
		}
		r.tries++
		r.cores.next()
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// readOnce reads one stream to its own end. An end without the run's is UNAVAILABLE.
func (r *reader) readOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is left has to be ended
	client, err := r.cores.client(ctx)
	if err != nil {
		return err
	}
	next, err := r.open(ctx, client)
	if err != nil {
		return err
	}
	if err := r.readStream(ctx, next); err != nil || r.at.outcome != "" {
		return err
	}
	return r.lookForEnd(ctx, client)
}

// open starts the run, or follows it as soon as it has an id.
func (r *reader) open(ctx context.Context, client pb.AgentServiceClient) (receive, error) {
	if r.at.runID == "" {
		stream, err := client.StreamRun(ctx, &pb.StreamRunRequest{Run: r.spec})
		if err != nil {
			return nil, err
		}
		return receiving(stream.Recv), nil
	}
	stream, err := client.FollowRun(ctx, &pb.FollowRunRequest{RunId: r.at.runID, After: r.at.cursor})
	if err != nil {
		return nil, err
	}
	return receiving(stream.Recv), nil
}

// readStream shows what one stream holds. It returns nil when the stream ended with OK.
func (r *reader) readStream(ctx context.Context, next receive) error {
	for {
		response, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		r.learn(response.GetRunId())
		r.heed(response.GetControl())
		for _, event := range response.GetEvents() {
			if err := r.take(ctx, event); err != nil {
				return err
			}
		}
	}
}

// learn tells the run's id to who waits for it.
func (r *reader) learn(runID string) {
	if r.at.runID == "" {
		r.at.runID = runID
	}
	if r.at.runID != "" && r.known != nil {
		r.known <- r.at.runID
		r.known = nil
	}
}

// take shows one event, unless it is known already.
func (r *reader) take(ctx context.Context, event *pb.Event) error {
	verdict := r.at.take(event)
	if verdict == missing {
		return status.Errorf(codes.Unavailable, "event %d came after event %d", event.Sequence, r.at.cursor.GetSequence())
	}
	r.hear()
	if verdict == known {
		return nil
	}
	if err := r.show(event); err != nil {
		return err
	}
	if event.GetTextDelta() != nil {
		if r.deltas++; r.deltas == r.cancelAfter {
			// The stream goes on to its terminal event: done, with the reason "cancelled".
			return cancelRun(ctx, r.cores, r.at.runID, r.patience)
		}
	}
	return nil
}

// heed takes note of what is said between events. Controls that are not known are passed over.
func (r *reader) heed(control *pb.Control) {
	if control == nil {
		return
	}
	r.hear()
	switch said := control.GetControl().(type) {
	case *pb.Control_Resync:
		r.at.resync(said.Resync.GetFirst())
		r.say(fmt.Sprintf("resync (%s): the log has events %d to %d, and goes on there", said.Resync.Reason,
			said.Resync.GetFirst().GetSequence(), said.Resync.GetLast().GetSequence()))
	case *pb.Control_Degraded:
		r.say("waiting: " + said.Degraded.Message)
	case *pb.Control_Draining:
		r.wait = time.Duration(said.Draining.RetryMs) * time.Millisecond // the stream ends by itself
	}
}

// hear notes a contact. It lasts until the stream ends.
func (r *reader) hear() {
	r.tries, r.wait = 0, 0
}

// pause returns how long to wait before the next call. What a core asks for concerns that core alone.
func (r *reader) pause(err error) time.Duration {
	pause := pauseBefore(r.tries, chance())
	if len(r.cores.addresses) > 1 {
		return pause
	}
	return longest(pause, r.wait, retryAfter(err))
}

// lookForEnd asks what became of a run whose stream ended without a terminal event: it is over when we already
// have its last event, else UNAVAILABLE.
func (r *reader) lookForEnd(ctx context.Context, client pb.AgentServiceClient) error {
	if r.at.runID != "" {
		ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
		defer cancel()
		answer, err := client.GetRun(ctx, &pb.GetRunRequest{RunId: r.at.runID})
		if err != nil {
			return err
		}
		r.at.conclude(answer.GetRun())
	}
	return status.Error(codes.Unavailable, "the stream ended before the run")
}

func sleep(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func longest(durations ...time.Duration) time.Duration {
	var most time.Duration
	for _, duration := range durations {
		if duration > most {
			most = duration
		}
	}
	return most
}
