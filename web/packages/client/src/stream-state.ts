import type { ControlFrame, FinishReason, JsonValue, Progress, StreamEvent, Usage } from "./events.ts";
import type { Failure } from "./failure.ts";

/** What happens to a run as its reader sees it: the only input of the state. */
export type Signal =
  | { readonly kind: "event"; readonly event: StreamEvent; readonly atMs: number }
  | { readonly kind: "control"; readonly frame: ControlFrame }
  /** The response's headers are here. */
  | { readonly kind: "opened"; readonly runId: string | undefined; readonly traceId: string | undefined }
  /** The connection broke; this is the n-th attempt to take the stream up again. */
  | { readonly kind: "reconnecting"; readonly attempt: number }
  /** Events before the next one are gone from the log; `restart` means that it begins anew. */
  | { readonly kind: "gap"; readonly restart: boolean; readonly complete: boolean }
  | { readonly kind: "stop_requested" }
  /** The request to cancel did not get through. */
  | { readonly kind: "stop_failed" }
  | { readonly kind: "failed"; readonly failure: Failure };

export interface ToolCall {
  readonly callId: string;
  readonly tool: string;
  readonly args: JsonValue;
  /** Absent while the call runs, and for ever when its run ends first. */
  readonly outcome?: { readonly result: JsonValue; readonly isError: boolean };
}

export type Outcome =
  | { readonly kind: "done"; readonly finishReason: FinishReason; readonly usage: Usage | undefined }
  | { readonly kind: "failed"; readonly failure: Failure };

/** Times of this page's clock, in milliseconds, and the model tokens that came in between. */
export interface Pace {
  readonly startedAtMs: number;
  readonly firstTokenAtMs?: number;
  readonly lastTokenAtMs?: number;
  readonly tokens: number;
}

/** All that a page shows of one run. */
export interface StreamState {
  readonly connection: "connecting" | "streaming" | "reconnecting" | "ended";
  /** Counts the attempts of the reconnection that goes on; 0 when none does. */
  readonly attempt: number;
  readonly stopping: boolean;
  readonly stopFailed: boolean;
  readonly runId: string | undefined;
  readonly agent: string | undefined;
  readonly model: string | undefined;
  readonly traceId: string | undefined;
  /** The answer, cut where a tool was called in between. Joined, it is the exact text. */
  readonly segments: readonly string[];
  readonly reasoning: string;
  readonly tools: readonly ToolCall[];
  readonly progress: Progress | undefined;
  /** Part of the answer was lost on the way and has not been made good. */
  readonly gap: boolean;
  /** The log is away; nothing arrives until it is back. */
  readonly degraded: boolean;
  readonly outcome: Outcome | undefined;
  readonly pace: Pace;
}

const NOTHING_SAID = {
  segments: [] as readonly string[],
  reasoning: "",
  tools: [] as readonly ToolCall[],
  progress: undefined,
};

/** Return the state of a run that has just been asked for. */
export function startState(startedAtMs: number): StreamState {
  return {
    connection: "connecting",
    attempt: 0,
    stopping: false,
    stopFailed: false,
    runId: undefined,
    agent: undefined,
    model: undefined,
    traceId: undefined,
    ...NOTHING_SAID,
    gap: false,
    degraded: false,
    outcome: undefined,
    pace: { startedAtMs, tokens: 0 },
  };
}

/** Return the whole answer so far. */
export function answerText(state: StreamState): string {
  return state.segments.join("");
}

/** Return the state after one more signal. After the outcome only a resumed connection changes anything. */
export function reduce(state: StreamState, signal: Signal): StreamState {
  if (state.outcome !== undefined && !isRevival(state.outcome, signal)) return state;
  switch (signal.kind) {
    case "event":
      return reduceEvent(
        { ...state, connection: "streaming", attempt: 0, degraded: false },
        signal.event,
        signal.atMs,
      );
    case "control":
      return signal.frame.control === "degraded" ? { ...state, degraded: true } : state;
    case "opened":
      return {
        ...state,
        connection: "streaming",
        runId: state.runId ?? signal.runId,
        traceId: state.traceId ?? signal.traceId,
      };
    case "reconnecting":
      return { ...state, connection: "reconnecting", attempt: signal.attempt, outcome: undefined };
    case "gap":
      return { ...state, ...(signal.restart ? NOTHING_SAID : {}), gap: !signal.complete };
    case "stop_requested":
      return { ...state, stopping: true, stopFailed: false };
    case "stop_failed":
      return { ...state, stopping: false, stopFailed: true };
    case "failed":
      return fail(state, signal.failure);
  }
}

function isRevival(outcome: Outcome, signal: Signal): boolean {
  return signal.kind === "reconnecting" && outcome.kind === "failed" && outcome.failure.resumable;
}

function reduceEvent(state: StreamState, event: StreamEvent, atMs: number): StreamState {
  switch (event.type) {
    case "run_started":
      return {
        ...state,
        runId: event.runId,
        agent: event.agent,
        model: event.model,
        traceId: traceIdOf(event.traceparent) ?? state.traceId,
      };
    case "text_delta":
      return {
        ...state,
        segments: append(state, event.content),
        pace: keepPace(state.pace, event.tokens, atMs),
      };
    case "reasoning_delta":
      return {
        ...state,
        reasoning: state.reasoning + event.content,
        pace: keepPace(state.pace, event.tokens, atMs),
      };
    case "progress":
      return { ...state, progress: event };
    case "tool_start":
      return {
        ...state,
        segments: cut(state.segments),
        tools: [...state.tools, { callId: event.callId, tool: event.tool, args: event.args }],
      };
    case "tool_result":
      return { ...state, tools: settle(state.tools, event) };
    case "custom":
      return state;
    case "done":
      return {
        ...heal(state, event.finalMessage),
        connection: "ended",
        stopping: false,
        outcome: { kind: "done", finishReason: event.finishReason, usage: event.usage },
      };
    case "error":
      return fail(state, {
        code: event.code,
        message: event.message,
        retryable: event.retryable,
        resumable: false,
        ...(event.traceId === undefined ? {} : { traceId: event.traceId }),
      });
  }
}

function fail(state: StreamState, failure: Failure): StreamState {
  return {
    ...state,
    connection: "ended",
    stopping: false,
    traceId: failure.traceId ?? state.traceId,
    outcome: { kind: "failed", failure },
  };
}

/** Return the segments with more text at the end of the last one. */
function append(state: StreamState, content: string): readonly string[] {
  return [...state.segments.slice(0, -1), (state.segments.at(-1) ?? "") + content];
}

/** Return the segments with a new, empty one at the end. */
function cut(segments: readonly string[]): readonly string[] {
  return segments.length === 0 || segments.at(-1) === "" ? segments : [...segments, ""];
}

function settle(
  tools: readonly ToolCall[],
  event: Extract<StreamEvent, { type: "tool_result" }>,
): readonly ToolCall[] {
  const { callId, tool, result, isError } = event;
  const outcome = { result, isError };
  const index = tools.findLastIndex((call) => call.callId === callId);
  const call = tools[index];
  // The start may have been trimmed from the log: the result is shown all the same.
  return call === undefined
    ? [...tools, { callId, tool, args: null, outcome }]
    : tools.with(index, { ...call, outcome });
}

/** The final message is the truth: it fills whatever the deltas lost. */
function heal(state: StreamState, finalMessage: string): StreamState {
  if (finalMessage === "") return state;
  const whole = answerText(state) === finalMessage;
  return { ...state, gap: false, segments: whole ? state.segments : [finalMessage] };
}

function keepPace(pace: Pace, tokens: number, atMs: number): Pace {
  return {
    ...pace,
    firstTokenAtMs: pace.firstTokenAtMs ?? atMs,
    lastTokenAtMs: atMs,
    tokens: pace.tokens + tokens,
  };
}

/**
 * Return the trace id within a W3C traceparent.
 *
 * Source: https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function traceIdOf(traceparent: string | null | undefined): string | undefined {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(traceparent ?? "")?.[1];
}
