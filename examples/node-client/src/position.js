// How far a run has been read. Pure: nothing is sent, printed or waited for here.

import { payloadOf, TERMINAL } from "./events.js";

/** What is to be done with an event that came. */
export const FRESH = "fresh"; // pass it on
export const KNOWN = "known"; // it was passed on before: pass over it
export const MISSING = "missing"; // events before it did not come: follow again after the cursor

/** Returns a place with epoch 0 read as 1, as the contract does. Sequences are text, since they have 64 bits. */
const placeOf = ({ epoch, sequence }) => ({ epoch: epoch || 1, sequence: String(sequence) });

/** Compares as (epoch, sequence). Everything comes after nothing. */
function isAfter(one, other) {
  if (!other) return BigInt(one.sequence) > 0n;
  if (one.epoch !== other.epoch) return one.epoch > other.epoch;
  return BigInt(one.sequence) > BigInt(other.sequence);
}

export class Position {
  /** The run's id; empty until it is known. */
  runId;
  /** The last event that came in its turn: what to follow after. */
  cursor;
  /** The last event that was passed on. */
  shown;
  /** The terminal event's type; null before. */
  outcome = null;

  constructor(runId = "", cursor = undefined) {
    this.runId = runId;
    this.cursor = cursor;
  }

  /** Says what is to be done with an event, and moves on when it is in its turn. */
  take(event) {
    const at = placeOf(event);
    if (!isAfter(at, this.cursor)) return KNOWN;
    if (BigInt(at.sequence) > BigInt(this.cursor?.sequence ?? 0) + 1n) return MISSING;
    this.cursor = at;
    // The log begins anew after a resync: this much of it was passed on.
    if (!isAfter(at, this.shown)) return KNOWN;
    this.shown = at;
    const type = payloadOf(event)?.type;
    if (TERMINAL.has(type)) this.outcome = type;
    return FRESH;
  }

  /** Heeds that the stream goes on at another place: with the first event that the log holds. */
  resync(first) {
    const sequence = BigInt(first?.sequence ?? 0);
    this.cursor = sequence > 1n ? placeOf({ epoch: first.epoch, sequence: sequence - 1n }) : undefined;
  }

  /** Heeds what GetRun tells of a run whose stream held nothing: it has ended if we have its last event. */
  conclude({ state, last, outcome }) {
    if (state === "RUN_STATE_ENDED" && last && !isAfter(placeOf(last), this.cursor)) this.outcome = outcome.event;
  }

  /** What a later call can follow after; undefined when nothing has come. */
  get resumeAt() {
    return this.shown ?? this.cursor;
  }
}
