package tokenwire

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestWhatTheTransportReportsMayPassAndARefusalStands(t *testing.T) {
	for code, want := range map[codes.Code]bool{
		codes.Unavailable: false, codes.Internal: false, codes.Unknown: false, codes.Canceled: false,
		codes.NotFound: true, codes.DataLoss: true, codes.PermissionDenied: true, codes.Unauthenticated: true,
		codes.InvalidArgument: true, codes.AlreadyExists: true, codes.DeadlineExceeded: true, codes.Unimplemented: true,
	} {
		if got := isFinal(status.Error(code, "")); got != want {
			t.Errorf("%v: final %v", code, got)
		}
	}
	if !isFinal(errors.New("no space left on device")) {
		t.Error("an error of our own would be tried again")
	}
}

func TestACoresOwnRefusalStandsUnlessItSaysWhenToComeBack(t *testing.T) {
	reason := &errdetails.ErrorInfo{Reason: "X"}
	refused, _ := status.New(codes.Unavailable, "").WithDetails(reason)
	later, _ := status.New(codes.ResourceExhausted, "").WithDetails(reason, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if !isFinal(refused.Err()) || isFinal(later.Err()) {
		t.Error("RetryInfo is what tells them apart")
	}
}

func TestPausesGrowToASecondAndAreSpread(t *testing.T) {
	for try, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		want *= time.Millisecond
		if longest, shortest := pauseBefore(try, 0), pauseBefore(try, 1); longest != want || shortest != want/2 {
			t.Errorf("try %d: %v to %v", try, shortest, longest)
		}
	}
	if pause := pauseBefore(1000, 0); pause != time.Second {
		t.Errorf("after long: %v", pause)
	}
}
