package main

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"

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
	after  []uint64
	cancel int
}

func (c *core) next() leg {
	played := c.legs[0]
	c.legs = c.legs[1:]
	return played
}

func (c *core) StreamRun(_ *pb.StreamRunRequest, stream grpc.ServerStreamingServer[pb.StreamRunResponse]) error {
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

// connected returns a client of a core that is served until the test ends.
func connected(t *testing.T, service *core) pb.AgentServiceClient {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	pb.RegisterAgentServiceServer(server, service)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient("passthrough:core",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return pb.NewAgentServiceClient(connection)
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

// ask starts a run and returns the sequences that were shown.
func ask(t *testing.T, r *reader) ([]uint64, error) {
	t.Helper()
	var shown []uint64
	r.show = func(event *pb.Event) error {
		shown = append(shown, event.Sequence)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return shown, r.start(ctx, &pb.RunSpec{Message: "x"})
}

func TestAStreamThatEndsBeforeTheRunIsFollowedOn(t *testing.T) {
	draining := &pb.StreamRunResponse{RunId: runID, Control: &pb.Control{
		Control: &pb.Control_Draining{Draining: &pb.Draining{RetryMs: 300}},
	}}
	service := &core{
		run: &pb.Run{State: pb.RunState_RUN_STATE_RUNNING},
		legs: []leg{
			{responses: []*pb.StreamRunResponse{events(delta(1), delta(2))}, err: gone},
			{err: gone},
			{responses: []*pb.StreamRunResponse{events(delta(3)), draining}}, // ends with OK, not with the run
			{responses: []*pb.StreamRunResponse{events(delta(4), done(5))}},
		},
	}
	r := &reader{client: connected(t, service)}
	shown, err := ask(t, r)
	if err != nil || r.outcome != "done" {
		t.Fatalf("ended in %q with %v", r.outcome, err)
	}
	if want := []uint64{1, 2, 3, 4, 5}; !reflect.DeepEqual(shown, want) {
		t.Errorf("shown %v, not %v", shown, want)
	}
	if want := []uint64{2, 2, 3}; !reflect.DeepEqual(service.after, want) {
		t.Errorf("followed after %v, not %v", service.after, want)
	}
}

// shut is a client whose calls can't even be opened, as while its connection is being made again.
type shut struct {
	pb.AgentServiceClient
	follows int
}

func (s *shut) FollowRun(ctx context.Context, request *pb.FollowRunRequest, options ...grpc.CallOption) (grpc.ServerStreamingClient[pb.FollowRunResponse], error) {
	if s.follows++; s.follows < 3 {
		return nil, gone
	}
	return s.AgentServiceClient.FollowRun(ctx, request, options...)
}

func TestAConnectionThatIsBeingMadeAgainIsWaitedFor(t *testing.T) {
	service := &core{legs: []leg{
		{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone},
		{responses: []*pb.StreamRunResponse{events(done(2))}},
	}}
	shown, err := ask(t, &reader{client: &shut{AgentServiceClient: connected(t, service)}})
	if err != nil || len(shown) != 2 {
		t.Errorf("shown %v, then %v", shown, err)
	}
}

func TestARefusalIsNotAskedForAgain(t *testing.T) {
	lost := status.Error(codes.DataLoss, "The run's events were lost.")
	service := &core{legs: []leg{
		{responses: []*pb.StreamRunResponse{events(delta(1))}, err: gone},
		{err: lost},
	}}
	shown, err := ask(t, &reader{client: connected(t, service)})
	if len(shown) != 1 || status.Code(err) != codes.DataLoss {
		t.Errorf("shown %v, then %v", shown, err)
	}
}

func TestACallThatStartedNoRunIsNotAskedForAgain(t *testing.T) {
	service := &core{legs: []leg{{err: gone}}}
	_, err := ask(t, &reader{client: connected(t, service)})
	if status.Code(err) != codes.Unavailable || len(service.after) != 0 {
		t.Errorf("%v, followed after %v", err, service.after)
	}
}

func TestNothingIsLeftAfterTheLastEvent(t *testing.T) {
	ended := &pb.Run{
		State:   pb.RunState_RUN_STATE_ENDED,
		Last:    &pb.Cursor{Epoch: 1, Sequence: 9},
		Outcome: &pb.FinishOutcome{Event: "error"},
	}
	r := &reader{client: connected(t, &core{run: ended, legs: []leg{{}}})}
	err := r.follow(context.Background(), runID, &pb.Cursor{Epoch: 1, Sequence: 9})
	if err != nil || r.outcome != "error" {
		t.Errorf("ended in %q with %v", r.outcome, err)
	}
}

func TestARunIsCancelledOnce(t *testing.T) {
	service := &core{legs: []leg{{responses: []*pb.StreamRunResponse{events(delta(1), delta(2), delta(3), done(4))}}}}
	shown, err := ask(t, &reader{client: connected(t, service), cancelAfter: 2})
	if err != nil || len(shown) != 4 || service.cancel != 1 {
		t.Errorf("%v, shown %v, cancelled %d times", err, shown, service.cancel)
	}
}

func TestARefusalIsDescribedInFull(t *testing.T) {
	refused, err := status.New(codes.InvalidArgument, "No.").WithDetails(
		&errdetails.ErrorInfo{Reason: "BAD", Metadata: map[string]string{"b": "2", "a": "1"}},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "run.message", Description: "is empty"}}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)},
		&errdetails.Help{},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := "INVALID_ARGUMENT: No. [BAD]\n  a: 1\n  b: 2\n  run.message: is empty\n  retry after 1500 ms"
	if got := describe(refused.Err()); got != want {
		t.Errorf("described as\n%s\nnot\n%s", got, want)
	}
	if got := retryAfter(refused.Err()); got != 1500*time.Millisecond {
		t.Errorf("retry after %v", got)
	}
}

func TestACursorIsAnEventsIDOrASequence(t *testing.T) {
	for text, want := range map[string]string{"41": "1.41", runID + ".2.41": "2.41"} {
		cursor, err := parseCursor(text)
		if err != nil || fmt.Sprintf("%d.%d", cursor.Epoch, cursor.Sequence) != want {
			t.Errorf("%s: %v, %v", text, cursor, err)
		}
	}
	if _, err := parseCursor(runID + ".1.x"); err == nil {
		t.Error("a cursor that names no event was accepted")
	}
}

func TestATokenIsAJWTOfTheContract(t *testing.T) {
	token, err := principal{"alice", []byte(strings.Repeat("k", 32))}.token(time.Unix(1_763_841_600, 0))
	if err != nil {
		t.Fatal(err)
	}
	// Made by another library: {"sub":"alice","aud":"tokenwire-core","iat":1763841600,"exp":1763841660}
	want := "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbGljZSIsImF1ZCI6InRva2Vud2lyZS1jb3JlIiwiaWF0IjoxNzYzODQxNjAwLCJleHAiOjE3NjM4NDE2NjB9.LzSe8UgJ-xEC71JE8y5iKF8XDp7FxmEuj_NT9S2awbc"
	if token != want {
		t.Errorf("signed %s", token)
	}
}
