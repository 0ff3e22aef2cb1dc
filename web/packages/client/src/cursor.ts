/** A place in a run's log, as an SSE `id` names it. */
export interface Cursor {
  readonly id: string;
  readonly runId: string;
  readonly epoch: number;
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
