package tokenwire.client;

import tokenwire.v1.Cursor;
import tokenwire.v1.Event;
import tokenwire.v1.Run;
import tokenwire.v1.RunState;

/** How far a run has been read: what to show, what to skip, when to follow again. Pure. */
final class Position {
  /** Where nothing was read. */
  static final Cursor BEFORE = Cursor.getDefaultInstance();

  /** The run; empty before a core has named it. */
  String runId = "";

  /** The last event received in order: the cursor to follow after. */
  Cursor cursor = BEFORE;

  /** The last event that was shown. */
  Cursor shown = BEFORE;

  /** The terminal event, "done" or "error"; empty before. */
  String outcome = "";

  /**
   * Moves on to an event and tells whether it is to be shown.
   *
   * @throws StreamBroke events before it are missing
   */
  boolean take(Event event) throws StreamBroke {
    Cursor at = Cursor.newBuilder().setEpoch(event.getEpoch()).setSequence(event.getSequence()).build();
    if (!isAfter(at, cursor)) {
      return false;
    }
    if (at.getSequence() > cursor.getSequence() + 1) {
      throw new StreamBroke("event " + at.getSequence() + " came after event " + cursor.getSequence());
    }
    cursor = at;
    if (!isAfter(at, shown)) {
      return false; // sent again after a resync: it was shown before
    }
    shown = at;
    outcome = event.hasDone() ? "done" : event.hasError() ? "error" : "";
    return true;
  }

  /** Handles a resync: the stream continues with the first event in the log. */
  void resync(Cursor first) {
    cursor = first.getSequence() > 1 ? first.toBuilder().setSequence(first.getSequence() - 1).build() : BEFORE;
  }

  /** Evaluates GetRun after a stream without events: the run is over if we have its last event. */
  void conclude(Run run) {
    if (run.getState() == RunState.RUN_STATE_ENDED && !isAfter(run.getLast(), cursor)) {
      outcome = run.getOutcome().getEvent();
    }
  }

  /** Compares by epoch, of which 0 is read as 1, then by sequence. Every event comes after BEFORE. */
  private static boolean isAfter(Cursor one, Cursor other) {
    if (other.getSequence() == 0) {
      return one.getSequence() > 0;
    }
    int epochs = Integer.compareUnsigned(Math.max(1, one.getEpoch()), Math.max(1, other.getEpoch()));
    return epochs != 0 ? epochs > 0 : Long.compareUnsigned(one.getSequence(), other.getSequence()) > 0;
  }

  /** A stream ended, or skipped events, before its run ended: follow it again. */
  static final class StreamBroke extends Exception {
    private static final long serialVersionUID = 1;

    StreamBroke(String message) {
      super(message);
    }
  }
}
