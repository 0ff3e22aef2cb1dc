import type { Cursor } from "./cursor.ts";
import type { ControlFrame, FinishReason, JsonValue, Progress, StreamEvent, Usage } from "./events.ts";
import { eventFailure, type Failure } from "./failure.ts";

/** What happens to a run as its reader sees it: the only input of the state. */
export type Signal =
  | {
      readonly kind: "event";
      readonly event: StreamEvent;
      /** When it was read, by the clock of `performance.now()`. */
      readonly atMs: number;
      /** Its place in the run; absent for what has none. */
      readonly cursor?: Cursor | undefined;
    }
  | { readonly kind: "control"; readonly frame: ControlFrame }
  /** The response's headers are here. */
  | {
      readonly kind: "opened";
      readonly runId: string | undefined;
      readonly traceId: string | undefined;
      /** Proves which stream was read, in a report of its times: see `@tokenwire/client/timing`. */
      readonly timingToken?: string | undefined;
    }
  /** The connection broke, or was refused for now; this is the n-th attempt to have it again. */
  | {
      readonly kind: "reconnecting";
      readonly attempt: number;
      /** The browser has no network: no attempt counts until it is back. */
      readonly offline?: boolean;
      /** Why the server refused, when it did. */
      readonly failure?: Failure | undefined;
    }
  /** Another run of the session goes on: it is followed instead, and the message was not sent. */
  | { readonly kind: "joined"; readonly runId: string }
  /** Events before the next one are gone from the log; `restart` means that it begins anew. */
  | { readonly kind: "gap"; readonly restart: boolean; readonly complete: boolean }
  | { readonly kind: "stop_requested" }
  /** The request to cancel did not get through. */
  | { readonly kind: "stop_failed" }
  /** Stop came before the server had accepted the message: no run was started. */
  | { readonly kind: "never_started" }
  | { readonly kind: "failed"; readonly failure: Failure }
  /** The reader has left: no more signals. What becomes of the run is up to its `onDisconnect`. */
  | { readonly kind: "left" };

/** What a run does, whatever its connection does. `idle`: there is none. */
export type RunStatus = "idle" | "submitted" | "streaming" | "stopping" | "done" | "stopped" | "failed";

/**
 * What a connection does, whatever its run does.
 *
 * `reconnecting`: tries again by itself. `disconnected`: does not, for it gave up, or waits for the network.
 * `closed`: none is needed any more.
 */
export type ConnectionStatus = "connecting" | "connected" | "reconnecting" | "disconnected" | "closed";

/** A tool call, and what came of it. */
export interface ToolCall {
  /** Names the call within the run. */
  readonly callId: string;
  /** The tool's name. */
  readonly tool: string;
  /** What it is called with. */
  readonly args: JsonValue;
  /** Absent while the call runs, and for ever when its run ends first. */
  readonly outcome?: { readonly result: JsonValue; readonly isError: boolean };
}

/** How a run ended for its reader: `failed` also where its connection was given up (`failure.resumable`). */
export type Outcome =
  | { readonly kind: "done"; readonly finishReason: FinishReason; readonly usage: Usage | undefined }
  | { readonly kind: "failed"; readonly failure: Failure };

/** Times of this page's clock, in milliseconds, and the model tokens that came in between. */
export interface Pace {
  /** When the run was asked for. */
  readonly startedAtMs: number;
  /** When the first text came; absent before. */
  readonly firstTokenAtMs?: number;
  /** When the newest text came; absent before the first. */
  readonly lastTokenAtMs?: number;
  /** Model tokens so far. */
  readonly tokens: number;
}

/** All that a page shows of one run. */
export interface RunState {
  /** What the run does. */
  readonly status: RunStatus;
  /** What its connection does. */
  readonly connection: ConnectionStatus;
  /** Counts the attempts of the reconnection that goes on; 0 when none does. */
  readonly attempt: number;
  /** Why the server refuses at the moment, while it is tried again. */
  readonly trouble: Failure | undefined;
  /** This is another run than the one that was asked for: see the signal `joined`. */
  readonly joined: boolean;
  /** Stop was asked for, and the end has not come yet. */
  readonly stopping: boolean;
  /** The last Stop did not reach the server: the run goes on. */
  readonly stopFailed: boolean;
  /** Undefined until the server has named it. */
  readonly runId: string | undefined;
  /** The agent that answers; undefined before the first event. */
  readonly agent: string | undefined;
  /** The model that it asks, where it says so. */
  readonly model: string | undefined;
  /** Names the trace of the run, where it is sampled. */
  readonly traceId: string | undefined;
  /** The answer, cut where a tool was called in between. Joined, it is the exact text. */
  readonly segments: readonly string[];
  /** What the model thought before it answered; no part of the answer. */
  readonly reasoning: string;
  /** In the order in which they were called. */
  readonly tools: readonly ToolCall[];
  /** The newest step of a longer operation. */
  readonly progress: Progress | undefined;
  /** Part of the answer was lost on the way and has not been made good. */
  readonly gap: boolean;
  /** The log is away; nothing arrives until it is back. */
  readonly degraded: boolean;
  /** Undefined while the run goes on. */
  readonly outcome: Outcome | undefined;
  /** For the time to the first token, and tokens a second. */
  readonly pace: Pace;
}

const NOTHING_SAID = {
  segments: [] as readonly string[],
  reasoning: "",
  tools: [] as readonly ToolCall[],
  progress: undefined,
};

/** The same under its older name. */
export type StreamState = RunState;

/** Return the state of a run that has just been asked for. */
export function startState(startedAtMs: number): RunState {
  return {
    status: "submitted",
    connection: "connecting",
    attempt: 0,
    trouble: undefined,
    joined: false,
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
export function answerText(state: RunState): string {
  return state.segments.join("");
}

/** Return the state after one more signal. After the outcome only a resumed connection changes anything. */
export function reduce(state: RunState, signal: Signal): RunState {
  if (state.outcome !== undefined && !isRevival(state.outcome, signal)) return state;
  switch (signal.kind) {
    case "event":
      return takeEvent(
        {
          ...state,
          ...CONNECTED,
          degraded: false,
          status:
            state.status === "submitted" && signal.event.type !== "run_started" ? "streaming" : state.status,
        },
        signal.event,
        signal.atMs,
      );
    case "control":
      return signal.frame.control === "degraded" ? { ...state, degraded: true } : state;
    case "opened":
      return {
        ...state,
        ...CONNECTED,
        runId: state.runId ?? signal.runId,
        traceId: state.traceId ?? signal.traceId,
      };
    case "reconnecting":
      return reconnect(state, signal);
    case "joined":
      return { ...state, ...NOTHING_SAID, joined: true, runId: signal.runId, trouble: undefined };
    case "gap":
      return { ...state, ...(signal.restart && NOTHING_SAID), gap: !signal.complete };
    case "stop_requested":
      return { ...state, status: "stopping", stopping: true, stopFailed: false };
    case "stop_failed":
      return { ...state, status: liveStatus(state), stopping: false, stopFailed: true };
    case "never_started":
      return finish(state, { kind: "done", finishReason: "cancelled", usage: undefined });
    case "failed":
      return fail(state, signal.failure);
    case "left":
      return { ...state, ...CONNECTED, connection: "closed" };
  }
}

const CONNECTED = { connection: "connected", attempt: 0, trouble: undefined } as const;

function isRevival(outcome: Outcome, signal: Signal): boolean {
  return signal.kind === "reconnecting" && outcome.kind === "failed" && outcome.failure.resumable;
}

/** Return what the run does as far as its events tell. */
function liveStatus(state: RunState): RunStatus {
  const spoken = state.segments.length + state.reasoning.length + state.tools.length > 0;
  return spoken || state.progress !== undefined ? "streaming" : "submitted";
}

function reconnect(state: RunState, signal: Extract<Signal, { kind: "reconnecting" }>): RunState {
  const { attempt, offline, failure } = signal;
  return {
    ...state,
    status: state.stopping ? "stopping" : liveStatus(state),
    connection: offline === true ? "disconnected" : "reconnecting",
    attempt,
    trouble: failure,
    outcome: undefined,
  };
}

function takeEvent(state: RunState, event: StreamEvent, atMs: number): RunState {
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
    case "reasoning_delta":
      return {
        ...state,
        ...(event.type === "text_delta"
          ? { segments: append(state, event.content) }
          : { reasoning: state.reasoning + event.content }),
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
    case "input_requested":
    case "input_received":
      return state;
    case "done":
      return finish(heal(state, event.finalMessage), {
        kind: "done",
        finishReason: event.finishReason,
        usage: event.usage,
      });
    case "error":
      return fail(state, eventFailure(event, false));
  }
}

const SETTLED = { attempt: 0, trouble: undefined, stopping: false } as const;

function finish(state: RunState, outcome: Extract<Outcome, { kind: "done" }>): RunState {
  const status = outcome.finishReason === "cancelled" ? "stopped" : "done";
  return { ...state, ...SETTLED, status, connection: "closed", outcome };
}

function fail(state: RunState, failure: Failure): RunState {
  return {
    ...state,
    ...SETTLED,
    status: "failed",
    // A run that can be taken up again is still wanted; only the connection is not there.
    connection: failure.resumable ? "disconnected" : "closed",
    traceId: failure.traceId ?? state.traceId,
    outcome: { kind: "failed", failure },
  };
}

/** Return the segments with more text at the end of the last one. */
function append(state: RunState, content: string): readonly string[] {
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
function heal(state: RunState, finalMessage: string): RunState {
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
