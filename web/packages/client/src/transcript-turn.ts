import { FINISH_REASONS } from "./events.ts";
import type { TranscriptTurn } from "./records.ts";
import type { SessionTurn } from "./session.ts";
import { type Outcome, type RunState, type RunStatus, startState } from "./stream-state.ts";

/** Return whether a turn's answer has to be read from its run: it goes on, or is too long for a transcript. */
export function mustFollow({ state, text, first }: TranscriptTurn): boolean {
  return state !== "ended" || (text === null && first !== null);
}

/** Return a turn of before as the session shows it. One that must be followed begins empty. */
export function turnOf(record: TranscriptTurn, nowMs: number): SessionTurn {
  const createdAtMs = Date.parse(record.createTime ?? "");
  return {
    id: record.runId,
    runId: record.runId,
    message: record.message,
    createdAtMs: Number.isNaN(createdAtMs) ? undefined : createdAtMs,
    run: stateOf(record, nowMs),
  };
}

function stateOf(record: TranscriptTurn, nowMs: number): RunState {
  const fresh = { ...startState(nowMs), runId: record.runId };
  if (mustFollow(record)) return fresh;
  const outcome = outcomeOf(record);
  return {
    ...fresh,
    status: statusOf(outcome),
    connection: "closed",
    segments: record.text === null || record.text === "" ? [] : [record.text],
    outcome,
  };
}

function outcomeOf({ terminal }: TranscriptTurn): Outcome {
  if (terminal?.event === "error") {
    const message = "This answer failed.";
    return { kind: "failed", failure: { code: terminal.reason, message, retryable: true, resumable: false } };
  }
  const finishReason = FINISH_REASONS.find((known) => known === terminal?.reason) ?? "stop";
  return { kind: "done", finishReason, usage: undefined };
}

function statusOf(outcome: Outcome): RunStatus {
  if (outcome.kind === "failed") return "failed";
  return outcome.finishReason === "cancelled" ? "stopped" : "done";
}
