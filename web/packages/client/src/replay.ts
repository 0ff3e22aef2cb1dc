import type { Client } from "./client.ts";
import type { StreamEvent } from "./events.ts";
import { answerText, type RunState, type Signal } from "./stream-state.ts";

/**
 * Read a run that has ended from its log, and return what it came to; undefined where the log is gone or has lost
 * its beginning, the server can't be reached, or the signal aborts.
 *
 * @param onLimit - Called when the server refuses the stream for now, for there are too many.
 */
export async function replayRun(
  client: Client,
  runId: string,
  signal: AbortSignal,
  onLimit?: () => void,
): Promise<RunState | undefined> {
  const log = { isTrimmed: false, hasEnded: false };
  const onSignal = (heard: Signal) => {
    if (heard.kind === "gap" && !heard.complete) log.isTrimmed = true;
    if (heard.kind === "reconnecting" && heard.failure?.status === 429) onLimit?.();
    // An error without a place in the run is the server's own.
    if (heard.kind === "event" && heard.cursor !== undefined) log.hasEnded = isTerminal(heard.event);
  };
  const run = client.followRun(runId, { keepEvents: false, onSignal });
  const leave = () => {
    run.leave();
  };
  signal.addEventListener("abort", leave);
  await run.finished;
  signal.removeEventListener("abort", leave);
  // One that was given up waits to be taken up again otherwise. Of one that was read, the server closes the stream.
  if (!log.hasEnded) leave();
  return log.hasEnded && !log.isTrimmed ? run.state : undefined;
}

/** Whether nothing of the run comes after it. */
export function isTerminal({ type }: StreamEvent): boolean {
  return type === "done" || type === "error";
}

/**
 * Return a turn of before with what its run's log has told. The text stays the transcript's where they differ, and
 * so does its pace: how fast a log is read says nothing of the answer.
 */
export function withReplay(shown: RunState, replayed: RunState): RunState {
  const { agent, model, traceId, reasoning, tools, progress, outcome } = replayed;
  const segments = answerText(shown) === answerText(replayed) ? replayed.segments : shown.segments;
  return { ...shown, agent, model, traceId, reasoning, tools, progress, outcome, segments };
}
