package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
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
	err       error
}

// core plays one leg a call, and notes which positions it was asked to follow after.
type core struct {
	pb.UnimplementedAgentServiceServer
	legs   []leg
	run    *pb.Run
	asked  []string // the request id of each start
	after  []uint64
	cancel int
}

func (c *core) next() leg {
	played := c.legs[0]
	c.legs = c.legs[1:]
	return played
}

func (c *core) StreamRun(request *pb.StreamRunRequest, stream grpc.ServerStreamingServer[pb.StreamRunResponse]) error {
	c.asked = append(c.asked, request.GetRun().GetRequestId())
	played := c.next()
	for _, response := range played.responses {
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
	c.cancel++
	return &pb.CancelRunResponse{}, nil
}

// serving returns cores that are served until the test ends. A nil one refuses connections.
func serving(t *testing.T, services ...*core) *cores {
	t.Helper()
	listeners := map[string]*bufconn.Listener{}
	at := &cores{}
	for number, service := range services {
		name := fmt.Sprint("core", number)
		at.addresses = append(at.addresses, "passthrough:"+name)
		if service == nil {
			continue
		}
		listeners[name] = bufconn.Listen(1 << 16)
		server := grpc.NewServer()
		pb.RegisterAgentServiceServer(server, service)
		go server.Serve(listeners[name])
		t.Cleanup(server.Stop)
	}
	at.options = []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, name string) (net.Conn, error) {
			if listener := listeners[name]; listener != nil {
				return listener.DialContext(ctx)
			}
			return nil, errors.New("connection refused")
		}),
	}
	t.Cleanup(at.close)
	return at
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

// readAll reads a run and returns the sequences that were shown.
func readAll(t *testing.T, r *reader) ([]uint64, error) {
	t.Helper()
	var shown []uint64
	r.show = func(event *pb.Event) error {
		shown = append(shown, event.Sequence)
		return nil
	}
	if r.say == nil {
		r.say = func(string) {}
	}
	r.spec = &pb.RunSpec{Message: "x", RequestId: "once"}
	if r.patience == 0 {
		r.patience = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := r.read(ctx)
	return shown, err
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
	r := &reader{cores: serving(t, service)}
	shown, err := readAll(t, r)
	if err != nil || r.at.outcome != "done" {
		t.Fatalf("ended in %q with %v", r.at.outcome, err)
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
	shown, err := readAll(t, &reader{cores: serving(t, nil, one, nil, other)})
	if err != nil || len(shown) != 3 {
		t.Errorf("shown %v, then %v", shown, err)
	}
	if len(one.asked) != 1 || !reflect.DeepEqual(other.after, []uint64{1}) {
		t.Errorf("started at one %v, followed at the other after %v", one.asked, other.after)
	}
}

func TestAStartThatBrokeIsRepeatedWithTheSameRequestID(t *testing.T) {
	service := &core{legs: []leg{{err: gone}, {responses: []*pb.StreamRunResponse{events(delta(1), done(2))}}}}
	shown, err := readAll(t, &reader{cores: serving(t, service)})
	if err != nil || len(shown) != 2 {
		t.Errorf("shown %v, then %v", shown, err)
	}
	if want := []string{"once", "once"}; !reflect.DeepEqual(service.asked, want) {
		t.Errorf("started as %v", service.asked)
	}
}

func TestAStartThatReachesNoCoreEndsAtOnce(t *testing.T) {
	r := &reader{cores: serving(t, nil, nil), patience: time.Hour}
	if _, err := readAll(t, r); status.Code(err) != codes.Unavailable || r.cores.tried != 1 {
		t.Errorf("%v after %d further addresses", err, r.cores.tried)
	}
}

func TestWhatComesTwiceIsShownOnceAndWhatIsMissingIsAskedFor(t *testing.T) {
	service := &core{legs: []leg{
		{responses: []*pb.StreamRunResponse{events(delta(1), delta(2)), events(delta(2), delta(4))}},
		{responses: []*pb.StreamRunResponse{events(delta(2), delta(3)), events(delta(4), done(5))}},
	}}
	shown, err := readAll(t, &reader{cores: serving(t, service)})
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
	shown, err := readAll(t, &reader{cores: serving(t, service), say: func(line string) { said = append(said, line) }})
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
	shown, err := readAll(t, &reader{cores: serving(t, service)})
	if len(shown) != 1 || status.Code(err) != codes.DataLoss {
		t.Errorf("shown %v, then %v", shown, err)
	}
}

func TestWithoutContactItGivesUp(t *testing.T) {
	legs := []leg{{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone}}
	for len(legs) < 50 {
		legs = append(legs, leg{err: gone})
	}
	r := &reader{cores: serving(t, &core{legs: legs}), patience: 500 * time.Millisecond}
	if _, err := readAll(t, r); status.Code(err) != codes.Unavailable || r.at.resumeAt().GetSequence() != 1 {
		t.Errorf("%v at %v", err, r.at.resumeAt())
	}
}

func TestNothingIsLeftAfterTheLastEvent(t *testing.T) {
	ended := &pb.Run{
		State:   pb.RunState_RUN_STATE_ENDED,
		Last:    &pb.Cursor{Epoch: 1, Sequence: 9},
		Outcome: &pb.FinishOutcome{Event: "error"},
	}
	at := position{runID: runID, cursor: &pb.Cursor{Epoch: 1, Sequence: 9}}
	r := &reader{cores: serving(t, &core{run: ended, legs: []leg{{}}}), at: at}
	if _, err := readAll(t, r); err != nil || r.at.outcome != "error" {
		t.Errorf("ended in %q with %v", r.at.outcome, err)
	}
}

func TestARunIsCancelledOnce(t *testing.T) {
	service := &core{legs: []leg{{responses: []*pb.StreamRunResponse{events(delta(1), delta(2), delta(3), done(4))}}}}
	shown, err := readAll(t, &reader{cores: serving(t, service), cancelAfter: 2})
	if err != nil || len(shown) != 4 || service.cancel != 1 {
		t.Errorf("%v, shown %v, cancelled %d times", err, shown, service.cancel)
	}
}
