import { type Cursor, parseCursor } from "./cursor.ts";
import {
  type ControlFrame,
  type ControlName,
  type EventType,
  FINISH_REASONS,
  type FinishReason,
  type StreamEvent,
  type Usage,
} from "./events.ts";
import { Fields, MalformedField, present } from "./fields.ts";

/** One SSE message, as any SSE parser hands it over. */
export interface SseMessage {
  /** The event's name; absent means "message". */
  readonly event?: string | undefined;
  readonly id?: string | undefined;
  readonly data: string;
}

/** What one message says. Unknown words are passed over, but their place in the run counts. */
export type ParsedMessage =
  | { readonly kind: "event"; readonly cursor: Cursor | undefined; readonly event: StreamEvent }
  | { readonly kind: "control"; readonly frame: ControlFrame }
  | { readonly kind: "unknown"; readonly cursor: Cursor | undefined; readonly name: string }
  | { readonly kind: "malformed"; readonly cursor: Cursor | undefined; readonly reason: string };

type EventReaders = { readonly [T in EventType]: (fields: Fields) => Extract<StreamEvent, { type: T }> };
type ControlReaders = {
  readonly [C in ControlName]: (fields: Fields) => Extract<ControlFrame, { control: C }>;
};

const EVENT_READERS: EventReaders = {
  run_started: (fields) => ({
    type: "run_started",
    runId: fields.string("runId"),
    sessionId: fields.stringOr("sessionId", ""),
    agent: fields.stringOr("agent", ""),
    ...present("model", fields.stringOr("model", undefined)),
    ...present("traceparent", fields.stringOr("traceparent", undefined)),
    ...stamp(fields),
  }),
  text_delta: (fields) => ({ type: "text_delta", ...delta(fields) }),
  reasoning_delta: (fields) => ({ type: "reasoning_delta", ...delta(fields) }),
  progress: (fields) => ({
    type: "progress",
    ...present("percent", fields.numberOr("percent", undefined)),
    message: fields.stringOr("message", ""),
    ...present("step", fields.stringOr("step", undefined)),
    ...stamp(fields),
  }),
  tool_start: (fields) => ({
    type: "tool_start",
    callId: fields.string("callId"),
    tool: fields.string("tool"),
    args: fields.json("args"),
    ...stamp(fields),
  }),
  tool_result: (fields) => ({
    type: "tool_result",
    callId: fields.string("callId"),
    tool: fields.string("tool"),
    result: fields.json("result"),
    isError: fields.flag("isError"),
    ...stamp(fields),
  }),
  custom: (fields) => ({
    type: "custom",
    name: fields.string("name"),
    data: fields.json("data"),
    ...stamp(fields),
  }),
  done: (fields) => ({
    type: "done",
    finalMessage: fields.stringOr("finalMessage", ""),
    finalMessageOmitted: fields.flag("finalMessageOmitted"),
    finishReason: finishReason(fields.stringOr("finishReason", "stop")),
    ...present("usage", usage(fields.object("usage"))),
    ...stamp(fields),
  }),
  error: (fields) => ({
    type: "error",
    code: fields.stringOr("code", "UNKNOWN"),
    message: fields.stringOr("message", "The run failed."),
    retryable: fields.flag("retryable"),
    details: fields.object("details")?.strings() ?? {},
    ...present("traceId", fields.stringOr("traceId", undefined)),
    ...stamp(fields),
  }),
};

const CONTROL_READERS: ControlReaders = {
  resync: (fields) => ({
    control: "resync",
    first: fields.string("first"),
    last: fields.stringOr("last", ""),
    reason: fields.stringOr("reason", ""),
  }),
  caught_up: (fields) => ({ control: "caught_up", cursor: fields.stringOr("cursor", "") }),
  degraded: (fields) => ({ control: "degraded", message: fields.stringOr("message", "") }),
  reconnect: (fields) => ({ control: "reconnect", retryMs: fields.numberOr("retryMs", 0) }),
  ping: () => ({ control: "ping" }),
};

/** Every event type that this client knows. */
export const EVENT_TYPES = Object.keys(EVENT_READERS) as readonly EventType[];

/** Every control frame that this client knows. */
export const CONTROL_NAMES = Object.keys(CONTROL_READERS) as readonly ControlName[];

/** Return what one SSE message says. Never throws. */
export function parseMessage(message: SseMessage): ParsedMessage {
  const cursor = message.id === undefined ? undefined : parseCursor(message.id);
  try {
    return readMessage(message, cursor);
  } catch (error) {
    if (error instanceof MalformedField || error instanceof SyntaxError) {
      return { kind: "malformed", cursor, reason: error.message };
    }
    throw error;
  }
}

function readMessage(message: SseMessage, cursor: Cursor | undefined): ParsedMessage {
  const name = message.event ?? "message";
  if (name !== "message") {
    if (!isKey(CONTROL_READERS, name)) return { kind: "unknown", cursor, name };
    return { kind: "control", frame: CONTROL_READERS[name](new Fields(JSON.parse(message.data))) };
  }
  const fields = new Fields(JSON.parse(message.data));
  const type = fields.string("type");
  if (!isKey(EVENT_READERS, type)) return { kind: "unknown", cursor, name: type };
  return { kind: "event", cursor, event: EVENT_READERS[type](fields) };
}

function isKey<T extends object>(table: T, name: string): name is Extract<keyof T, string> {
  return Object.hasOwn(table, name);
}

function stamp(fields: Fields): { timestamp: number } {
  return { timestamp: fields.numberOr("timestamp", 0) };
}

function delta(fields: Fields) {
  return {
    content: fields.string("content"),
    tokens: fields.numberOr("tokens", 1),
    ...present("from", fields.numberOr("from", undefined)),
    ...stamp(fields),
  };
}

/** A reason from a newer core reads as `stop`, as the contract says of the unspecified one. */
function finishReason(name: string): FinishReason {
  return FINISH_REASONS.find((known) => known === name) ?? "stop";
}

function usage(fields: Fields | undefined): Usage | undefined {
  return (
    fields && {
      ...present("inputTokens", fields.numberOr("inputTokens", undefined)),
      ...present("outputTokens", fields.numberOr("outputTokens", undefined)),
    }
  );
}
