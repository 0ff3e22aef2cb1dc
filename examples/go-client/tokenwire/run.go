package tokenwire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// A Run is read to its end with Next. Only Stop may be called from another goroutine meanwhile.
type Run struct {
	client *Client
	ctx    context.Context // of the reading: it outlasts each call
	leave  context.CancelFunc
	spec   *pb.RunSpec   // the run to start; its request_id lets a start be repeated
	known  chan struct{} // closed when the run's id is known

	at      position
	event   *pb.Event
	err     error
	call    *call       // nil when the next one is still to be opened
	pending []*pb.Event // what came with the last response and was not taken yet

	wait  time.Duration // how long a draining core asks us to wait
	tries int           // calls without contact
	heard time.Time     // when the last contact ended
}

// A call is one stream, and what it was made over.
type call struct {
	ctx     context.Context
	end     context.CancelFunc
	link    *link
	receive func() (response, error)
}

// A response is what StreamRun and FollowRun send.
type response interface {
	GetRunId() string
	GetEvents() []*pb.Event
	GetControl() *pb.Control
}

// Start returns a run that its first Next starts. The deadline of ctx is the run's too.
//
// Without a request_id it gets one, which names the same run however often the start is sent. Without an
// on_disconnect it gets GRACE: a connection that broke is mended by following, so that only Stop ends the run at once.
func (c *Client) Start(ctx context.Context, spec *pb.RunSpec) *Run {
	run := c.newRun(ctx)
	run.spec = proto.Clone(spec).(*pb.RunSpec)
	if run.spec.RequestId == "" {
		run.spec.RequestId = newRequestID()
	}
	if run.spec.OnDisconnect == pb.OnDisconnect_ON_DISCONNECT_UNSPECIFIED {
		run.spec.OnDisconnect = pb.OnDisconnect_ON_DISCONNECT_GRACE
	}
	return run
}

// Follow returns a run that was started before, to be read after an event: from the first one on with nil.
func (c *Client) Follow(ctx context.Context, runID string, after *pb.Cursor) *Run {
	run := c.newRun(ctx)
	run.at.cursor = after
	run.learn(runID)
	return run
}

func (c *Client) newRun(ctx context.Context) *Run {
	ctx, leave := context.WithCancel(ctx)
	return &Run{client: c, ctx: ctx, leave: leave, known: make(chan struct{})}
}

func newRequestID() string {
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		panic(err) // the system has no randomness: there is nothing to go on with
	}
	return hex.EncodeToString(id)
}

// Next waits for the next event. It returns false at the end: after the terminal event, or with an Err.
func (r *Run) Next() bool {
	for r.err == nil && r.at.outcome == "" {
		if isFresh, err := r.step(); isFresh {
			return true
		} else if err != nil {
			r.err = r.recover(err)
		}
	}
	r.Close()
	return false
}

// Event returns what the last Next has read. Its payload is nil when it is newer than this code: pass over it.
func (r *Run) Event() *pb.Event { return r.event }

// Err returns what ended the reading before the run's end; nil at the run's end, also at that of a run that failed.
func (r *Run) Err() error { return r.err }

// ID returns the run's id; empty before a core has answered.
func (r *Run) ID() string { return r.at.runID }

// Outcome returns which terminal event was read, "done" or "error"; empty before.
func (r *Run) Outcome() string { return r.at.outcome }

// Cursor returns what a later Follow can go on after; nil when nothing was read.
func (r *Run) Cursor() *pb.Cursor { return r.at.resumeAt() }

// Stop cancels the run, as soon as its id is known. Reading goes on to the terminal event that comes of it.
func (r *Run) Stop(ctx context.Context) error {
	select {
	case <-r.known:
		return r.client.Cancel(ctx, r.at.runID)
	default:
	}
	select {
	case <-r.known:
		return r.client.Cancel(ctx, r.at.runID)
	case <-r.ctx.Done():
		return status.FromContextError(r.ctx.Err()).Err()
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// Close ends the reading. The run goes on as its on_disconnect says.
func (r *Run) Close() {
	r.hangUp()
	r.leave()
}

// step takes one event, or waits for a response. It tells whether there is an event to be shown.
func (r *Run) step() (bool, error) {
	if len(r.pending) == 0 {
		return false, r.receive()
	}
	r.event, r.pending = r.pending[0], r.pending[1:]
	verdict := r.at.take(r.event)
	if verdict == missing {
		return false, status.Errorf(codes.Unavailable, "event %d came after event %d", r.event.Sequence, r.at.cursor.GetSequence())
	}
	r.hear()
	return verdict == fresh, nil
}

// receive waits for a response. A stream's end without the run's is UNAVAILABLE.
func (r *Run) receive() error {
	if r.call == nil {
		if err := r.open(); err != nil {
			return err
		}
	}
	response, err := r.call.receive()
	if errors.Is(err, io.EOF) {
		return r.lookForEnd()
	} else if err != nil {
		return err
	}
	r.learn(response.GetRunId())
	r.heed(response.GetControl())
	r.pending = response.GetEvents()
	return nil
}

// open starts the run, or follows it as soon as it has an id.
func (r *Run) open() error {
	ctx, end := context.WithCancel(r.ctx) // a stream must be ended explicitly
	at, err := r.client.use(ctx)
	if err != nil {
		end()
		return err
	}
	r.call = &call{ctx: ctx, end: end, link: at}
	client := pb.NewAgentServiceClient(at.connection)
	if r.at.runID == "" {
		stream, err := client.StreamRun(ctx, &pb.StreamRunRequest{Run: r.spec})
		r.call.receive = func() (response, error) { return stream.Recv() }
		return err
	}
	stream, err := client.FollowRun(ctx, &pb.FollowRunRequest{RunId: r.at.runID, After: r.at.cursor})
	r.call.receive = func() (response, error) { return stream.Recv() }
	return err
}

// recover returns nil when the run can be followed again, after a pause; else the error that stands.
func (r *Run) recover(err error) error {
	if r.tries == 0 {
		r.heard = time.Now()
	}
	at := r.hangUp()
	switch {
	case r.ctx.Err() != nil:
		return status.FromContextError(r.ctx.Err()).Err()
	case isFinal(err), r.at.runID == "" && r.isOutOfReach():
		return err
	}
	pause := r.pause(err)
	if time.Since(r.heard)+pause > r.client.Patience {
		return err
	}
	if r.tries == 0 && r.at.runID != "" {
		r.client.notice(fmt.Sprintf("the stream broke off (%s): following the run again", status.Code(err)))
	}
	r.tries++
	r.client.leave(at)
	return sleep(r.ctx, pause)
}

// hangUp ends the present call, if there is one, and returns what it was made over.
func (r *Run) hangUp() *link {
	if r.call == nil {
		return nil
	}
	ended := r.call
	r.call, r.pending = nil, nil
	ended.end()
	r.client.release(ended.link)
	return ended.link
}

// isOutOfReach tells whether every address was tried, and none has answered.
func (r *Run) isOutOfReach() bool {
	return !r.client.wasReached() && r.tries+1 >= len(r.client.addresses)
}

// learn notes the run's id, which is then told to Stop.
func (r *Run) learn(runID string) {
	if r.at.runID == "" && runID != "" {
		r.at.runID = runID
		close(r.known)
	}
}

// heed handles a control. Unknown controls are skipped.
func (r *Run) heed(control *pb.Control) {
	if control == nil {
		return
	}
	r.hear()
	switch said := control.GetControl().(type) {
	case *pb.Control_Resync:
		r.at.resync(said.Resync.GetFirst())
		r.client.notice(fmt.Sprintf("resync (%s): the log has events %d to %d, and goes on there", said.Resync.Reason,
			said.Resync.GetFirst().GetSequence(), said.Resync.GetLast().GetSequence()))
	case *pb.Control_Degraded:
		r.client.notice("waiting: " + said.Degraded.Message)
	case *pb.Control_Draining:
		r.wait = time.Duration(said.Draining.RetryMs) * time.Millisecond // the stream ends by itself
	}
}

// hear resets the pauses: the core has answered.
func (r *Run) hear() {
	r.tries, r.wait = 0, 0
}

// pause returns how long to wait before the next call. A delay applies only to the core that asked for it.
func (r *Run) pause(err error) time.Duration {
	pause := pauseBefore(r.tries, chance())
	if len(r.client.addresses) > 1 {
		return pause
	}
	return longest(pause, r.wait, RetryAfter(err))
}

// lookForEnd asks what became of a run whose stream ended without a terminal event. It is over when we already
// have its last event; else the end is UNAVAILABLE.
func (r *Run) lookForEnd() error {
	if r.at.outcome != "" {
		return nil
	}
	if r.at.runID != "" {
		ctx, cancel := context.WithTimeout(r.call.ctx, unaryTimeout)
		defer cancel()
		answer, err := pb.NewAgentServiceClient(r.call.link.connection).GetRun(ctx, &pb.GetRunRequest{RunId: r.at.runID})
		if err != nil {
			return err
		}
		if r.at.conclude(answer.GetRun()); r.at.outcome != "" {
			return nil
		}
	}
	return status.Error(codes.Unavailable, "the stream ended before the run")
}
