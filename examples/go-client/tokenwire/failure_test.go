package tokenwire

import (
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

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
	if got := Describe(refused.Err()); got != want {
		t.Errorf("described as\n%s\nnot\n%s", got, want)
	}
	if got := RetryAfter(refused.Err()); got != 1500*time.Millisecond {
		t.Errorf("retry after %v", got)
	}
}
