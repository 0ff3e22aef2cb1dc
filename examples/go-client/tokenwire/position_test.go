package tokenwire

import (
	"testing"

	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

func cursor(epoch uint32, sequence uint64) *pb.Cursor {
	return &pb.Cursor{Epoch: epoch, Sequence: sequence}
}

func expect(t *testing.T, p *position, event *pb.Event, want verdict) {
	t.Helper()
	if got := p.take(event); got != want {
		t.Errorf("event %d.%d: verdict %d, not %d", event.Epoch, event.Sequence, got, want)
	}
}

func TestEventsArePassedOnInOrderAndOnce(t *testing.T) {
	p := &position{}
	expect(t, p, delta(2), missing)
	expect(t, p, delta(1), fresh)
	expect(t, p, delta(1), known)
	expect(t, p, delta(3), missing)
	expect(t, p, delta(2), fresh)
	expect(t, p, &pb.Event{Sequence: 3}, fresh) // a payload that is newer than we are has its place too; epoch 0 is 1
	expect(t, p, delta(2), known)
	expect(t, p, done(4), fresh)
	if p.outcome != "done" {
		t.Errorf("outcome %q", p.outcome)
	}
}

func TestAHigherEpochComesAfterAllOfTheLowerOne(t *testing.T) {
	end := done(2)
	end.Epoch = 2
	p := &position{cursor: cursor(1, 1), shown: cursor(1, 1)}
	expect(t, p, end, fresh)
	expect(t, p, delta(3), known)
}

func TestAfterATrimmedLogItGoesOnWhereTheLogBegins(t *testing.T) {
	p := &position{cursor: cursor(1, 3), shown: cursor(1, 3)}
	p.resync(cursor(1, 9))
	expect(t, p, delta(10), missing)
	expect(t, p, delta(9), fresh)
}

func TestOfALogThatLostItsEndNothingIsShownTwice(t *testing.T) {
	p := &position{cursor: cursor(1, 5), shown: cursor(1, 5)}
	p.resync(cursor(1, 1))
	expect(t, p, delta(1), known)
	if p.cursor.Sequence != 1 || p.resumeAt().Sequence != 5 {
		t.Errorf("follows after %v, shown to %v", p.cursor, p.resumeAt())
	}
	expect(t, p, delta(2), known)
	end := done(3)
	end.Epoch = 2
	expect(t, p, end, fresh)
}

func TestACursorThatWasNeverReachedHidesNothing(t *testing.T) {
	p := &position{cursor: cursor(1, 99)} // of the command line
	p.resync(cursor(1, 1))
	expect(t, p, delta(1), fresh)
	expect(t, p, done(2), fresh)
}

func TestARunHasEndedOnlyIfWeHaveItsLastEvent(t *testing.T) {
	run := &pb.Run{Last: cursor(2, 4), Outcome: &pb.FinishOutcome{Event: "error"}}
	for _, test := range []struct {
		state  pb.RunState
		cursor *pb.Cursor
		want   string
	}{
		{pb.RunState_RUN_STATE_RUNNING, cursor(2, 4), ""},
		{pb.RunState_RUN_STATE_ENDED, cursor(1, 4), ""},
		{pb.RunState_RUN_STATE_ENDED, cursor(2, 4), "error"},
	} {
		p := &position{cursor: test.cursor}
		run.State = test.state
		if p.conclude(run); p.outcome != test.want {
			t.Errorf("%v at %v: %q", test.state, test.cursor, p.outcome)
		}
	}
}
