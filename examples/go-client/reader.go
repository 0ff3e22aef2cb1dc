package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

const (
	// pause is how long to wait before a lost stream is asked for again, unless the core says longer.
	pause = 250 * time.Millisecond
	// patience is how long it is asked for again without an event coming.
	patience = 10 * time.Second
	// unaryTimeout is how long CancelRun and GetRun may take.
	unaryTimeout = 5 * time.Second
)

// A reader reads a run to its end, over as many calls as that takes.
type reader struct {
	client      pb.AgentServiceClient
	show        func(*pb.Event) error // told each event once, in order
	cancelAfter int                   // cancel the run after so many text deltas; 0 for never

	runID   string
	last    *pb.Cursor    // the last event that was shown; nil before the first
	outcome string        // how the run ended, "done" or "error"; empty before
	deltas  int           // text deltas shown
	wait    time.Duration // how long a draining core asks us to wait
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

// failing stands for a stream that could not be opened.
func failing(err error) receive {
	return func() (response, error) { return nil, err }
}

// start starts a run and reads it to its end.
func (r *reader) start(ctx context.Context, spec *pb.RunSpec) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // a stream that is left has to be ended
	stream, err := r.client.StreamRun(ctx, &pb.StreamRunRequest{Run: spec})
	if err != nil {
		return err
	}
	return r.read(ctx, receiving(stream.Recv))
}

// follow reads a run from after an event (nil: from the first) to its end.
func (r *reader) follow(ctx context.Context, runID string, after *pb.Cursor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.runID, r.last = runID, after
	return r.read(ctx, r.followOn(ctx))
}

// followOn opens a stream of what comes after the last event.
func (r *reader) followOn(ctx context.Context) receive {
	stream, err := r.client.FollowRun(ctx, &pb.FollowRunRequest{RunId: r.runID, After: r.last})
	if err != nil {
		return failing(err)
	}
	return receiving(stream.Recv)
}

// read reads a stream, and goes on with another whenever one ends before the run does.
func (r *reader) read(ctx context.Context, next receive) error {
	heard := time.Now()
	for {
		before := r.last
		err := r.readStream(ctx, next)
		if err == nil && r.outcome == "" {
			err = r.lookForEnd(ctx)
		}
		if r.outcome != "" {
			return nil
		}
		if r.last != before {
			heard = time.Now()
		}
		if r.runID == "" || status.Code(err) != codes.Unavailable || time.Since(heard) > patience {
			return err
		}
		if err := sleep(ctx, longest(pause, r.wait, retryAfter(err))); err != nil {
			return err
		}
		r.wait = 0
		next = r.followOn(ctx)
	}
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
		r.runID = response.GetRunId()
		r.heed(response.GetControl())
		for _, event := range response.GetEvents() {
			if err := r.take(ctx, event); err != nil {
				return err
			}
		}
	}
}

// take shows one event.
func (r *reader) take(ctx context.Context, event *pb.Event) error {
	if err := r.show(event); err != nil {
		return err
	}
	r.last = &pb.Cursor{Epoch: event.Epoch, Sequence: event.Sequence}
	switch event.Payload.(type) {
	case *pb.Event_Done:
		r.outcome = "done"
	case *pb.Event_Error:
		r.outcome = "error"
	case *pb.Event_TextDelta:
		if r.deltas++; r.deltas == r.cancelAfter {
			// The stream goes on to its terminal event: done, with the reason "cancelled".
			ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
			defer cancel()
			_, err := r.client.CancelRun(ctx, &pb.CancelRunRequest{RunId: r.runID, Cause: pb.CancelCause_CANCEL_CAUSE_STOP})
			return err
		}
	}
	return nil
}

// heed takes note of what is said between events. Controls that are not known are passed over.
func (r *reader) heed(control *pb.Control) {
	switch said := control.GetControl().(type) {
	case *pb.Control_Resync:
		fmt.Fprintf(os.Stderr, "events are missing (%s): the log has %d to %d\n",
			said.Resync.Reason, said.Resync.GetFirst().GetSequence(), said.Resync.GetLast().GetSequence())
	case *pb.Control_Draining:
		r.wait = time.Duration(said.Draining.RetryMs) * time.Millisecond
	}
}

// lookForEnd asks what became of a run whose stream ended without a terminal event: it is over when we already
// have its last event, else UNAVAILABLE.
func (r *reader) lookForEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, unaryTimeout)
	defer cancel()
	answer, err := r.client.GetRun(ctx, &pb.GetRunRequest{RunId: r.runID})
	if err != nil {
		return err
	}
	run := answer.GetRun()
	if run.GetState() == pb.RunState_RUN_STATE_ENDED && run.GetLast().GetSequence() == r.last.GetSequence() {
		r.outcome = run.GetOutcome().GetEvent()
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
