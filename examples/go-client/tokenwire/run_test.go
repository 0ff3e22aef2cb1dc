package tokenwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

const runID = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya"

// A leg is one stream of a scripted core: what it sends, and how it ends.
type leg struct {
	responses []*pb.StreamRunResponse
	between   <-chan struct{} // waited for before the second response; nil to go on at once
	err       error
}

// core plays one leg a call, and notes which positions it was asked to follow after.
type core struct {
	pb.UnimplementedAgentServiceServer
	legs   []leg
	run    *pb.Run
	asked  []string // the request id of each start
	after  []uint64
	cancel int32
}

func (c *core) cancels() int { return int(atomic.LoadInt32(&c.cancel)) }

func (c *core) next() leg {
	played := c.legs[0]
	c.legs = c.legs[1:]
	return played
}

func (c *core) StreamRun(request *pb.StreamRunRequest, stream grpc.ServerStreamingServer[pb.StreamRunResponse]) error {
	c.asked = append(c.asked, request.GetRun().GetRequestId())
	played := c.next()
	for number, response := range played.responses {
		if number == 1 && played.between != nil {
			<-played.between
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return played.err
}

func (c *core) FollowRun(request *pb.FollowRunRequest, stream grpc.ServerStreamingServer[pb.FollowRunResponse]) error {
	c.after = append(c.after, request.GetAfter().GetSequence())
	played := c.next()
	for _, sent := range played.responses {
		response := &pb.FollowRunResponse{RunId: sent.RunId, Events: sent.Events, Control: sent.Control}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return played.err
}

func (c *core) GetRun(context.Context, *pb.GetRunRequest) (*pb.GetRunResponse, error) {
	return &pb.GetRunResponse{Run: c.run}, nil
}

func (c *core) CancelRun(context.Context, *pb.CancelRunRequest) (*pb.CancelRunResponse, error) {
	atomic.AddInt32(&c.cancel, 1)
	return &pb.CancelRunResponse{}, nil
}

// serving returns a client of cores that are served until the test ends. A nil one refuses connections.
func serving(t *testing.T, services ...*core) *Client {
	t.Helper()
	listeners := map[string]*bufconn.Listener{}
	var addresses []string
	for number, service := range services {
		name := fmt.Sprint("core", number)
		addresses = append(addresses, "passthrough:"+name)
		if service == nil {
			continue
		}
		listeners[name] = bufconn.Listen(1 << 16)
		server := grpc.NewServer()
		pb.RegisterAgentServiceServer(server, service)
		go server.Serve(listeners[name])
		t.Cleanup(server.Stop)
	}
	dial := func(ctx context.Context, name string) (net.Conn, error) {
		if listener := listeners[name]; listener != nil {
			return listener.DialContext(ctx)
		}
		return nil, errors.New("connection refused")
	}
	client, err := NewClient(addresses, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	client.Patience = 20 * time.Second
	t.Cleanup(client.Close)
	return client
}

func events(events ...*pb.Event) *pb.StreamRunResponse {
	return &pb.StreamRunResponse{RunId: runID, Events: events}
}

func delta(sequence uint64) *pb.Event {
	payload := &pb.Event_TextDelta{TextDelta: &pb.TextDelta{Content: fmt.Sprint(sequence)}}
	return &pb.Event{Sequence: sequence, Epoch: 1, Payload: payload}
}

func done(sequence uint64) *pb.Event {
	return &pb.Event{Sequence: sequence, Epoch: 1, Payload: &pb.Event_Done{Done: &pb.Done{}}}
}

var gone = status.Error(codes.Unavailable, "connection reset")

// started returns a run whose start says that it is sent once.
func started(t *testing.T, client *Client) *Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return client.Start(ctx, &pb.RunSpec{Message: "x", RequestId: "once"})
}

// shownOf reads a run and returns the sequences that were shown.
func shownOf(run *Run) []uint64 {
	var shown []uint64
	for run.Next() {
		shown = append(shown, run.Event().Sequence)
	}
	return shown
}

func drainingFor(milliseconds uint32) *pb.StreamRunResponse {
	return &pb.StreamRunResponse{RunId: runID, Control: &pb.Control{
		Control: &pb.Control_Draining{Draining: &pb.Draining{RetryMs: milliseconds}},
	}}
}

func TestAStreamThatEndsBeforeTheRunIsFollowedOn(t *testing.T) {
	service := &core{
		run: &pb.Run{State: pb.RunState_RUN_STATE_RUNNING},
		legs: []leg{
			{responses: []*pb.StreamRunResponse{events(delta(1), delta(2))}, err: gone},
			{err: gone},
			{err: status.Error(codes.Internal, "RST_STREAM")},
			{responses: []*pb.StreamRunResponse{events(delta(3)), drainingFor(100)}}, // ends with OK, not with the run
			{responses: []*pb.StreamRunResponse{events(delta(4), done(5))}},
		},
	}
	run := started(t, serving(t, service))
	shown := shownOf(run)
	if run.Err() != nil || run.Outcome() != "done" {
		t.Fatalf("ended in %q with %v", run.Outcome(), run.Err())
	}
	if want := []uint64{1, 2, 3, 4, 5}; !reflect.DeepEqual(shown, want) {
		t.Errorf("shown %v, not %v", shown, want)
	}
	if want := []uint64{2, 2, 2, 3}; !reflect.DeepEqual(service.after, want) {
		t.Errorf("followed after %v, not %v", service.after, want)
	}
}

func TestCoresAreTriedInTurn(t *testing.T) {
	one := &core{legs: []leg{{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone}}}
	other := &core{legs: []leg{{responses: []*pb.StreamRunResponse{events(delta(2), done(3))}}}}
	run := started(t, serving(t, nil, one, nil, other))
	if shown := shownOf(run); run.Err() != nil || len(shown) != 3 {
		t.Errorf("shown %v, then %v", shown, run.Err())
	}
	if len(one.asked) != 1 || !reflect.DeepEqual(other.after, []uint64{1}) {
		t.Errorf("started at one %v, followed at the other after %v", one.asked, other.after)
	}
}

func TestAStartThatBrokeIsRepeatedWithTheSameRequestID(t *testing.T) {
	service := &core{legs: []leg{{err: gone}, {responses: []*pb.StreamRunResponse{events(delta(1), done(2))}}}}
	run := started(t, serving(t, service))
	if shown := shownOf(run); run.Err() != nil || len(shown) != 2 {
		t.Errorf("shown %v, then %v", shown, run.Err())
	}
	if want := []string{"once", "once"}; !reflect.DeepEqual(service.asked, want) {
		t.Errorf("started as %v", service.asked)
	}
}

func TestAStartThatReachesNoCoreEndsAtOnce(t *testing.T) {
	client := serving(t, nil, nil)
	client.Patience = time.Hour
	run := started(t, client)
	if run.Next() || status.Code(run.Err()) != codes.Unavailable || client.tried != 1 {
		t.Errorf("%v after %d further addresses", run.Err(), client.tried)
	}
}

func TestWhatComesTwiceIsShownOnceAndWhatIsMissingIsAskedFor(t *testing.T) {
	service := &core{legs: []leg{
		{responses: []*pb.StreamRunResponse{events(delta(1), delta(2)), events(delta(2), delta(4))}},
		{responses: []*pb.StreamRunResponse{events(delta(2), delta(3)), events(delta(4), done(5))}},
	}}
	run := started(t, serving(t, service))
	shown, err := shownOf(run), run.Err()
	if want := []uint64{1, 2, 3, 4, 5}; err != nil || !reflect.DeepEqual(shown, want) {
		t.Errorf("shown %v, then %v", shown, err)
	}
	if want := []uint64{2}; !reflect.DeepEqual(service.after, want) {
		t.Errorf("followed after %v, not %v", service.after, want)
	}
}

func TestAResyncIsSaid(t *testing.T) {
	resync := &pb.StreamRunResponse{RunId: runID, Control: &pb.Control{Control: &pb.Control_Resync{
		Resync: &pb.Resync{First: &pb.Cursor{Epoch: 1, Sequence: 7}, Last: &pb.Cursor{Epoch: 1, Sequence: 8}, Reason: "trimmed"},
	}}}
	service := &core{legs: []leg{
		{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone},
		{responses: []*pb.StreamRunResponse{resync, events(delta(7), done(8))}},
	}}
	var said []string
	client := serving(t, service)
	client.Notice = func(line string) { said = append(said, line) }
	run := started(t, client)
	shown, err := shownOf(run), run.Err()
	if want := []uint64{1, 7, 8}; err != nil || !reflect.DeepEqual(shown, want) {
		t.Errorf("shown %v, then %v", shown, err)
	}
	if len(said) != 2 || !strings.HasPrefix(said[1], "resync (trimmed)") {
		t.Errorf("said %q", said)
	}
}

func TestARefusalIsNotAskedForAgain(t *testing.T) {
	lost := status.Error(codes.DataLoss, "The run's events were lost.")
	service := &core{legs: []leg{
		{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone},
		{err: lost},
	}}
	run := started(t, serving(t, service))
	shown, err := shownOf(run), run.Err()
	if len(shown) != 1 || status.Code(err) != codes.DataLoss {
		t.Errorf("shown %v, then %v", shown, err)
	}
}

func TestWithoutContactItGivesUp(t *testing.T) {
	legs := []leg{{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone}}
	for len(legs) < 50 {
		legs = append(legs, leg{err: gone})
	}
	client := serving(t, &core{legs: legs})
	client.Patience = 500 * time.Millisecond
	run := started(t, client)
	shownOf(run)
	if status.Code(run.Err()) != codes.Unavailable || run.ID() != runID || run.Cursor().GetSequence() != 1 {
		t.Errorf("%v of %s at %v", run.Err(), run.ID(), run.Cursor())
	}
}

func TestNothingIsLeftAfterTheLastEvent(t *testing.T) {
	ended := &pb.Run{
		State:   pb.RunState_RUN_STATE_ENDED,
		Last:    &pb.Cursor{Epoch: 1, Sequence: 9},
		Outcome: &pb.FinishOutcome{Event: "error"},
	}
	client := serving(t, &core{run: ended, legs: []leg{{}}})
	run := client.Follow(context.Background(), runID, &pb.Cursor{Epoch: 1, Sequence: 9})
	if run.Next() || run.Err() != nil || run.Outcome() != "error" {
		t.Errorf("ended in %q with %v", run.Outcome(), run.Err())
	}
}

func TestStopWaitsForTheRunsIDAndCancelsIt(t *testing.T) {
	service := &core{legs: []leg{{responses: []*pb.StreamRunResponse{events(delta(1), delta(2)), events(done(3))}}}}
	run := started(t, serving(t, service))
	stopped := make(chan error, 1)
	go func() { stopped <- run.Stop(context.Background()) }()
	if shown := shownOf(run); run.Err() != nil || len(shown) != 3 {
		t.Errorf("shown %v, then %v", shown, run.Err())
	}
	if err := <-stopped; err != nil || service.cancels() != 1 {
		t.Errorf("%v, cancelled %d times", err, service.cancels())
	}
}

func TestAStopIsRepeatedAtTheNextCore(t *testing.T) {
	service := &core{}
	client := serving(t, nil, service)
	if err := client.Cancel(context.Background(), runID); err != nil || service.cancels() != 1 {
		t.Errorf("%v, cancelled %d times", err, service.cancels())
	}
}

func TestRunsOfOneClientDoNotDisturbEachOther(t *testing.T) {
	held := make(chan struct{})
	slow := leg{responses: []*pb.StreamRunResponse{events(delta(1)), events(delta(2), done(3))}, between: held}
	broken := leg{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone}
	client := serving(t, &core{legs: []leg{slow, broken}}, &core{legs: []leg{{responses: []*pb.StreamRunResponse{events(done(2))}}}})
	one, other := started(t, client), started(t, client)
	if !one.Next() {
		t.Fatal(one.Err())
	}
	if shown := shownOf(other); other.Err() != nil || len(shown) != 2 {
		t.Errorf("shown %v, then %v", shown, other.Err())
	}
	close(held)
	client.Patience = 0 // the call that was open all the time has to be enough
	if shown := shownOf(one); one.Err() != nil || len(shown) != 2 {
		t.Errorf("shown %v, then %v", shown, one.Err())
	}
}

func TestAStartGetsARequestIDAndTimeToFollowAgain(t *testing.T) {
	client := serving(t, nil)
	spec := &pb.RunSpec{Message: "x"}
	one, other := client.Start(context.Background(), spec), client.Start(context.Background(), spec)
	if one.spec.OnDisconnect != pb.OnDisconnect_ON_DISCONNECT_GRACE || len(one.spec.RequestId) != 32 {
		t.Errorf("started as %v", one.spec)
	}
	if one.spec.RequestId == other.spec.RequestId || spec.RequestId != "" {
		t.Error("two runs have one request id, or the caller's order was changed")
	}
}

func TestAClientNeedsAnAddress(t *testing.T) {
	if _, err := NewClient(nil); err == nil {
		t.Error("a client of no core was made")
	}
}
