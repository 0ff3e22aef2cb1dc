/**
 * The native dialect: what one SSE message can say.
 *
 * The words are those of `proto/tokenwire/v1/event.proto`: the same name for the
 * oneof field, the JSON `type` and the TypeScript type.
 */

/** Any value that JSON can say. */
export type JsonValue =
  null | boolean | number | string | readonly JsonValue[] | { readonly [name: string]: JsonValue };

/** What every event has. */
export interface Stamped {
  /** When the core made the event, in Unix milliseconds. */
  readonly timestamp: number;
  /** The stamps of its way, when they were asked for: see `RunOptions.timing`. */
  readonly timing?: Readonly<Record<string, JsonValue>>;
}

/** The run exists and is logged; the model has not been called yet. Always the first event. */
export interface RunStarted extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "run_started";
  /** The id of the run: for `followRun` and `cancelRun`. */
  readonly runId: string;
  /** The session that the run belongs to. */
  readonly sessionId: string;
  /** The agent that answers. */
  readonly agent: string;
  /** The model that the agent asks, where it says so. */
  readonly model?: string;
  /** W3C traceparent of the run's span; absent when the run is not sampled. */
  readonly traceparent?: string;
}

/** What both kinds of text have. */
export interface Delta extends Stamped {
  /** Text to put behind what came before. */
  readonly content: string;
  /** Model tokens in `content`. */
  readonly tokens: number;
  /** First sequence of a frame that holds several events; absent when it holds one. */
  readonly from?: number;
}

/** A piece of the answer. */
export interface TextDelta extends Delta {
  /** Tells the kinds of events apart. */
  readonly type: "text_delta";
}

/** A piece of what the model thought before it answered; no part of the answer. */
export interface ReasoningDelta extends Delta {
  /** Tells the kinds of events apart. */
  readonly type: "reasoning_delta";
}

/** How far a longer operation has come. */
export interface Progress extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "progress";
  /** 0 to 100; absent when it can't be told. */
  readonly percent?: number;
  /** What is being done, in words for the user. */
  readonly message: string;
  /** The step's name, for programs; absent where the agent names none. */
  readonly step?: string;
}

/** The agent calls a tool. */
export interface ToolStart extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "tool_start";
  /** Names the call within the run. */
  readonly callId: string;
  /** The tool's name. */
  readonly tool: string;
  /** What the tool is called with. */
  readonly args: JsonValue;
}

/** A tool call has ended: the one with the same `callId`. */
export interface ToolResult extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "tool_result";
  /** The call that has ended. */
  readonly callId: string;
  /** The tool's name. */
  readonly tool: string;
  /** What it returned, or why it failed. */
  readonly result: JsonValue;
  /** The call failed. The run goes on. */
  readonly isError: boolean;
}

/** An event of the application's own. */
export interface Custom extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "custom";
  /** What the application calls it. */
  readonly name: string;
  /** Whatever the application sends. */
  readonly data: JsonValue;
}

/** The agent asks a person, and waits for the answer: see `POST /api/runs/{runId}/inputs/{inputId}`. */
export interface InputRequested extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "input_requested";
  /** Names the question within the run. */
  readonly inputId: string;
  /** What is asked for: `approval`, `choice`, `text` or `json`. */
  readonly kind: string;
  /** The question. */
  readonly prompt: string;
  /** A JSON Schema of the answer; absent when any value of the kind is accepted. */
  readonly schema?: JsonValue;
  /** When the question expires: RFC 3339. */
  readonly expireTime?: string;
}

/** A question is closed. */
export interface InputReceived extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "input_received";
  /** The question: the `inputId` of its `input_requested`. */
  readonly inputId: string;
  /** How it was closed: `answered`, `declined` or `expired`. */
  readonly outcome: string;
}

/** Why a run ended without an error. */
export const FINISH_REASONS = ["stop", "length", "cancelled", "tool_limit"] as const;
/** `length`: the model's limit of tokens; `tool_limit`: the agent's limit of tool calls; `cancelled`: Stop. */
export type FinishReason = (typeof FINISH_REASONS)[number];

/** What the model counted, as far as its provider says. */
export interface Usage {
  /** Tokens that the model read. */
  readonly inputTokens?: number;
  /** Tokens that it wrote. */
  readonly outputTokens?: number;
}

/** Terminal: the run ended as it should, or was cancelled. */
export interface Done extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "done";
  /** The whole answer, unless `finalMessageOmitted`. */
  readonly finalMessage: string;
  /** The answer is too long to be told again: the deltas, joined, are all of it. */
  readonly finalMessageOmitted: boolean;
  /** Why it ended. */
  readonly finishReason: FinishReason;
  /** Absent where the provider does not count. */
  readonly usage?: Usage;
}

/** Terminal: the run failed. `code` is the canonical gRPC code's name. */
export interface RunError extends Stamped {
  /** Tells the kinds of events apart. */
  readonly type: "error";
  /** The canonical gRPC code, as `RESOURCE_EXHAUSTED`. */
  readonly code: string;
  /** Words that a user may read. */
  readonly message: string;
  /** The same question may be answered if it is asked again. */
  readonly retryable: boolean;
  /** Further facts for programs, as `reason`. */
  readonly details: Readonly<Record<string, string>>;
  /** Names the trace in which the operator finds the cause. */
  readonly traceId?: string;
}

/** An event of a run: `run_started` is the first one, and `done` or `error` the last one. */
export type StreamEvent =
  | RunStarted
  | TextDelta
  | ReasoningDelta
  | Progress
  | ToolStart
  | ToolResult
  | Custom
  | InputRequested
  | InputReceived
  | Done
  | RunError;

/** The `type` of an event. */
export type EventType = StreamEvent["type"];

/** The cursor was trimmed, or lies ahead of the log: the stream goes on at `first`. */
export interface Resync {
  /** Tells the kinds of control frames apart. */
  readonly control: "resync";
  /** The id of the first event that the log still holds: the next one that comes. */
  readonly first: string;
  /** The id of the last event in the log. */
  readonly last: string;
  /** `trimmed`: events before `first` are gone; `ahead`: the cursor lies behind the end of the log. */
  readonly reason: string;
}

/** The replay has met the live stream. */
export interface CaughtUp {
  /** Tells the kinds of control frames apart. */
  readonly control: "caught_up";
  /** The id of the last event that was replayed. */
  readonly cursor: string;
}

/** The run goes on, but the log is away: nothing arrives until it is back. */
export interface Degraded {
  /** Tells the kinds of control frames apart. */
  readonly control: "degraded";
  /** What is wrong, in words for the user. */
  readonly message: string;
}

/** This edge is draining: come back after `retryMs`. */
export interface Reconnect {
  /** Tells the kinds of control frames apart. */
  readonly control: "reconnect";
  /** Milliseconds. */
  readonly retryMs: number;
}

/** A heartbeat that scripts can see; sent only when asked for. */
export interface Ping {
  /** Tells the kinds of control frames apart. */
  readonly control: "ping";
}

/** What the server says of the stream itself: no part of the run, and without a place in its log. */
export type ControlFrame = Resync | CaughtUp | Degraded | Reconnect | Ping;
/** The name of a control frame: the `event:` of its SSE message. */
export type ControlName = ControlFrame["control"];
