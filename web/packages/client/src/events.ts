/**
 * The native dialect: what one SSE message can say.
 *
 * The words are those of `proto/tokenwire/v1/event.proto`: the same name for the
 * oneof field, the JSON `type` and the TypeScript type.
 */

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
  readonly type: "run_started";
  readonly runId: string;
  readonly sessionId: string;
  readonly agent: string;
  readonly model?: string;
  /** W3C traceparent of the run's span; absent when the run is not sampled. */
  readonly traceparent?: string;
}

/** What both kinds of text have. */
export interface Delta extends Stamped {
  readonly content: string;
  /** Model tokens in `content`. */
  readonly tokens: number;
  /** First sequence of a frame that holds several events; absent when it holds one. */
  readonly from?: number;
}

/** A piece of the answer. */
export interface TextDelta extends Delta {
  readonly type: "text_delta";
}

/** A piece of what the model thought before it answered; no part of the answer. */
export interface ReasoningDelta extends Delta {
  readonly type: "reasoning_delta";
}

/** How far a longer operation has come. */
export interface Progress extends Stamped {
  readonly type: "progress";
  /** 0 to 100; absent when it can't be told. */
  readonly percent?: number;
  readonly message: string;
  readonly step?: string;
}

export interface ToolStart extends Stamped {
  readonly type: "tool_start";
  readonly callId: string;
  readonly tool: string;
  readonly args: JsonValue;
}

export interface ToolResult extends Stamped {
  readonly type: "tool_result";
  readonly callId: string;
  readonly tool: string;
  readonly result: JsonValue;
  readonly isError: boolean;
}

/** An event of the application's own. */
export interface Custom extends Stamped {
  readonly type: "custom";
  readonly name: string;
  readonly data: JsonValue;
}

export const FINISH_REASONS = ["stop", "length", "cancelled", "tool_limit"] as const;
export type FinishReason = (typeof FINISH_REASONS)[number];

export interface Usage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
}

/** Terminal: the run ended as it should, or was cancelled. */
export interface Done extends Stamped {
  readonly type: "done";
  /** The whole answer, unless `finalMessageOmitted`. */
  readonly finalMessage: string;
  readonly finalMessageOmitted: boolean;
  readonly finishReason: FinishReason;
  readonly usage?: Usage;
}

/** Terminal: the run failed. `code` is the canonical gRPC code's name. */
export interface RunError extends Stamped {
  readonly type: "error";
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, string>>;
  readonly traceId?: string;
}

export type StreamEvent =
  RunStarted | TextDelta | ReasoningDelta | Progress | ToolStart | ToolResult | Custom | Done | RunError;

export type EventType = StreamEvent["type"];

/** The cursor was trimmed, or lies ahead of the log: the stream goes on at `first`. */
export interface Resync {
  readonly control: "resync";
  readonly first: string;
  readonly last: string;
  readonly reason: string;
}

/** The replay has met the live stream. */
export interface CaughtUp {
  readonly control: "caught_up";
  readonly cursor: string;
}

/** The run goes on, but the log is away: nothing arrives until it is back. */
export interface Degraded {
  readonly control: "degraded";
  readonly message: string;
}

/** This edge is draining: come back after `retryMs`. */
export interface Reconnect {
  readonly control: "reconnect";
  readonly retryMs: number;
}

/** A heartbeat that scripts can see; sent only when asked for. */
export interface Ping {
  readonly control: "ping";
}

export type ControlFrame = Resync | CaughtUp | Degraded | Reconnect | Ping;
export type ControlName = ControlFrame["control"];
