//! How far a run has been read: what to show, what to skip, when to follow again. Pure.

use crate::pb::{event::Payload, Cursor, Event, Run, RunState};

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Show it.
    Fresh,
    /// It was shown before: skip it.
    Known,
    /// Events before it are missing: follow again after the cursor.
    Missing,
}

/// How a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Error,
}

/// The place of an event: its epoch, then its sequence. Places compare in this order.
pub type Place = (u32, u64);

#[derive(Debug, Default)]
pub struct Position {
    /// The run; empty before a core has named it.
    pub run_id: String,
    /// The last event received in order: the cursor to follow after.
    pub cursor: Option<Place>,
    /// The last event that was shown.
    pub shown: Option<Place>,
    /// The terminal event.
    pub outcome: Option<Outcome>,
}

impl Position {
    /// Says what to do with an event, and moves the cursor if it is the next one.
    pub fn take(&mut self, event: &Event) -> Verdict {
        let at = Some((event.epoch.max(1), event.sequence));
        if at <= self.cursor {
            return Verdict::Known;
        }
        if event.sequence > self.cursor.map_or(0, |(_, sequence)| sequence) + 1 {
            return Verdict::Missing;
        }
        self.cursor = at;
        if at <= self.shown {
            return Verdict::Known; // sent again after a resync: it was shown before
        }
        self.shown = at;
        self.outcome = match event.payload {
            Some(Payload::Done(_)) => Some(Outcome::Done),
            Some(Payload::Error(_)) => Some(Outcome::Error),
            _ => None,
        };
        Verdict::Fresh
    }

    /// Handles a resync: the stream continues with the first event in the log.
    pub fn resync(&mut self, first: &Cursor) {
        self.cursor = (first.sequence > 1).then(|| (first.epoch.max(1), first.sequence - 1));
    }

    /// Evaluates GetRun after a stream without events: the run is over if we have its last event.
    pub fn conclude(&mut self, run: &Run) {
        let last = run.last.map(|at| (at.epoch.max(1), at.sequence));
        if run.state() != RunState::Ended || last > self.cursor {
            return;
        }
        self.outcome = match run.outcome.as_ref().map(|outcome| outcome.event.as_str()) {
            Some("done") => Some(Outcome::Done),
            Some("error") => Some(Outcome::Error),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{Done, FinishOutcome, TextDelta};

    fn delta(epoch: u32, sequence: u64) -> Event {
        Event { epoch, sequence, payload: Some(Payload::TextDelta(TextDelta::default())), ..Event::default() }
    }

    #[test]
    fn events_are_shown_in_order_and_once() {
        let mut position = Position::default();
        assert_eq!(position.take(&delta(1, 2)), Verdict::Missing);
        assert_eq!(position.take(&delta(0, 1)), Verdict::Fresh); // epoch 0 is 1
        assert_eq!(position.take(&delta(1, 1)), Verdict::Known);
        let done = Event { payload: Some(Payload::Done(Done::default())), ..delta(1, 2) };
        assert_eq!(position.take(&done), Verdict::Fresh);
        assert_eq!(position.outcome, Some(Outcome::Done));
    }

    #[test]
    fn of_a_log_that_lost_its_end_nothing_is_shown_twice() {
        let mut position = Position { cursor: Some((1, 5)), shown: Some((1, 5)), ..Position::default() };
        position.resync(&Cursor { epoch: 1, sequence: 1 });
        assert_eq!(position.take(&delta(1, 1)), Verdict::Known);
        assert_eq!(position.take(&delta(2, 2)), Verdict::Fresh);
    }

    #[test]
    fn a_run_has_ended_only_if_we_have_its_last_event() {
        let mut run = Run { last: Some(Cursor { epoch: 2, sequence: 4 }), ..Run::default() };
        run.set_state(RunState::Ended);
        run.outcome = Some(FinishOutcome { event: "error".into(), ..FinishOutcome::default() });
        let mut position = Position { cursor: Some((1, 4)), ..Position::default() };
        position.conclude(&run);
        assert_eq!(position.outcome, None);
        position.cursor = Some((2, 4));
        position.conclude(&run);
        assert_eq!(position.outcome, Some(Outcome::Error));
    }
}
