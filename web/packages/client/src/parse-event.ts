import { type Cursor, parseCursor } from "./cursor.ts";
import {
  type ControlFrame,
  type ControlName,
  type Done,
  type EventType,
  FINISH_REASONS,
  type StreamEvent,
} from "./events.ts";
import { isMalformed, readFields, type Shape } from "./fields.ts";

/** One SSE message, as any SSE parser hands it over. */
export interface SseMessage {
  /** The event's name; absent means "message". */
  readonly event?: string | undefined;
  /** The last `id:` that was seen; absent before the first one. */
  readonly id?: string | undefined;
  /** Its `data:` lines, joined by line feeds. */
  readonly data: string;
}

/** What one message says. Unknown words are passed over, but their place in the run counts. */
export type ParsedMessage =
  | { readonly kind: "event"; readonly cursor: Cursor | undefined; readonly event: StreamEvent }
  | { readonly kind: "control"; readonly frame: ControlFrame }
  | { readonly kind: "unknown"; readonly cursor: Cursor | undefined; readonly name: string }
  | { readonly kind: "malformed"; readonly cursor: Cursor | undefined; readonly reason: string };

const TYPED: Shape = { need: ["type"] };

const DELTA: Shape = { need: ["content"], or: { tokens: 1 } };

const EVENTS: Readonly<Record<EventType, Shape>> = {
  run_started: { need: ["runId"], or: { sessionId: "", agent: "" } },
  text_delta: DELTA,
  reasoning_delta: DELTA,
  progress: { or: { message: "" } },
  tool_start: { need: ["callId", "tool"], or: { args: null } },
  tool_result: { need: ["callId", "tool"], or: { result: null, isError: false } },
  custom: { need: ["name"], or: { data: null } },
  input_requested: { need: ["inputId"], or: { kind: "json", prompt: "" } },
  input_received: { need: ["inputId"], or: { outcome: "expired" } },
  done: { or: { finalMessage: "", finalMessageOmitted: false, finishReason: "stop" } },
  error: { or: { code: "UNKNOWN", message: "The run failed.", retryable: false, details: {} } },
};

const CONTROLS: Readonly<Record<ControlName, Shape>> = {
  resync: { need: ["first"], or: { last: "", reason: "" } },
  caught_up: { or: { cursor: "" } },
  degraded: { or: { message: "" } },
  reconnect: { or: { retryMs: 0 } },
  ping: {},
};

/** Every event type that this client knows. */
export const EVENT_TYPES = Object.keys(EVENTS) as readonly EventType[];

/** Every control frame that this client knows. */
export const CONTROL_NAMES = Object.keys(CONTROLS) as readonly ControlName[];

/** Return what one SSE message says. Never throws. */
export function parseMessage(message: SseMessage): ParsedMessage {
  const cursor = message.id === undefined ? undefined : parseCursor(message.id);
  try {
    return readMessage(message, cursor);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    return { kind: "malformed", cursor, reason: error.message };
  }
}

function readMessage(
  { event: name = "message", data }: SseMessage,
  cursor: Cursor | undefined,
): ParsedMessage {
  if (name !== "message") {
    if (!isKey(CONTROLS, name)) return { kind: "unknown", cursor, name };
    const frame = { ...readFields(CONTROLS[name], JSON.parse(data)), control: name } as ControlFrame;
    return { kind: "control", frame };
  }
  const json: unknown = JSON.parse(data);
  const type = readFields(TYPED, json).type as string;
  if (!isKey(EVENTS, type)) return { kind: "unknown", cursor, name: type };
  const event = { timestamp: 0, ...readFields(EVENTS[type], json) } as unknown as StreamEvent;
  return { kind: "event", cursor, event: isKnownEnd(event) ? event : { ...event, finishReason: "stop" } };
}

function isKey<T extends object>(table: T, name: string): name is Extract<keyof T, string> {
  return Object.hasOwn(table, name);
}

/** A reason from a newer core reads as `stop`, as the contract says of the unspecified one. */
function isKnownEnd(event: StreamEvent): event is Exclude<StreamEvent, Done> {
  return event.type !== "done" || FINISH_REASONS.includes(event.finishReason);
}
