/** A place in a run's log, as an SSE `id` names it. */
export interface Cursor {
  /** As the server wrote it: `runId.epoch.sequence`. */
  readonly id: string;
  /** The run. */
  readonly runId: string;
  /** The generation of the run's log, from 1: it grows when the log was lost and begun anew. */
  readonly epoch: number;
  /** The place in that log, from 1. */
  readonly sequence: number;
}

// 15 digits stay below 2^53: sequences above that are not of this world.
const CURSOR = /^([A-Za-z0-9_-]+)\.(\d{1,15})\.(\d{1,15})$/;

/** Return the place that `<runId>.<epoch>.<sequence>` names, or undefined when it names none. */
export function parseCursor(id: string): Cursor | undefined {
  const [, runId, epoch, sequence] = CURSOR.exec(id) ?? [];
  if (runId === undefined) return undefined;
  return { id, runId, epoch: Number(epoch), sequence: Number(sequence) };
}

/** Return a negative number when `left` comes before `right` in their run, zero when they are the same place. */
export function compareCursors(left: Cursor, right: Cursor): number {
  return left.epoch - right.epoch || left.sequence - right.sequence;
}
