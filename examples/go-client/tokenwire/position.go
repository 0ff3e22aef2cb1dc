package tokenwire

import (
	pb "example.com/tokenwire/go-client/tokenwire/v1"
)

// A position is how far a run has been read. Pure: nothing is sent, printed or waited for here.
type position struct {
	runID   string
	cursor  *pb.Cursor // the last event that came in its turn: what to follow after; nil before the first
	shown   *pb.Cursor // the last event that was passed on; nil before the first
	outcome string     // the terminal event, "done" or "error"; empty before
}

// A verdict says what is to be done with an event that came.
type verdict int

const (
	fresh   verdict = iota // pass it on
	known                  // it was passed on before: pass over it
	missing                // events before it are missing: follow again after the cursor
)

// take says what is to be done with an event, and moves on when it is in its turn.
func (p *position) take(event *pb.Event) verdict {
	at := placeOf(event)
	if !isAfter(at, p.cursor) {
		return known
	}
	if at.Sequence > p.cursor.GetSequence()+1 {
		return missing
	}
	p.cursor = at
	if !isAfter(at, p.shown) {
		return known // sent again after a resync: it was passed on before
	}
	p.shown = at
	switch event.Payload.(type) {
	case *pb.Event_Done:
		p.outcome = "done"
	case *pb.Event_Error:
		p.outcome = "error"
	}
	return fresh
}

// resync handles a resync: the stream continues with the first event in the log.
func (p *position) resync(first *pb.Cursor) {
	p.cursor = nil
	if first.GetSequence() > 1 {
		p.cursor = &pb.Cursor{Epoch: epoch(first.Epoch), Sequence: first.Sequence - 1}
	}
}

// conclude evaluates GetRun after a stream without events: the run is over if we have its last event.
func (p *position) conclude(run *pb.Run) {
	if run.GetState() == pb.RunState_RUN_STATE_ENDED && !isAfter(run.GetLast(), p.cursor) {
		p.outcome = run.GetOutcome().GetEvent()
	}
}

// resumeAt is what a later call can follow after: nil when nothing has come.
func (p *position) resumeAt() *pb.Cursor {
	if p.shown != nil {
		return p.shown
	}
	return p.cursor
}

func placeOf(event *pb.Event) *pb.Cursor {
	return &pb.Cursor{Epoch: epoch(event.Epoch), Sequence: event.Sequence}
}

// epoch reads 0 as 1, as the contract does.
func epoch(said uint32) uint32 {
	if said == 0 {
		return 1
	}
	return said
}

// isAfter compares as (epoch, sequence). Everything comes after nil.
func isAfter(one, other *pb.Cursor) bool {
	if other == nil {
		return one.GetSequence() > 0
	}
	if epoch(one.GetEpoch()) != epoch(other.Epoch) {
		return epoch(one.GetEpoch()) > epoch(other.Epoch)
	}
	return one.GetSequence() > other.Sequence
}
