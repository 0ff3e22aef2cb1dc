/**
 * Read an agent's runs from a Tokenwire edge.
 *
 * @packageDocumentation
 */
export { type Client, type ClientOptions, createClient } from "./client.ts";
export { newId } from "./environment.ts";
export * from "./events.ts";
export { type Failure, RequestFailed } from "./failure.ts";
export { type Endpoints, type HeadersContext, type RequestHeaders } from "./http.ts";
export {
  CONTROL_NAMES,
  EVENT_TYPES,
  type ParsedMessage,
  parseMessage,
  type SseMessage,
} from "./parse-event.ts";
export type { Cursor } from "./cursor.ts";
export { SseDecoder } from "./sse-decoder.ts";
export type {
  PageOptions,
  RunInfo,
  RunsPage,
  Terminal,
  TranscriptOptions,
  TranscriptPage,
  TranscriptTurn,
} from "./records.ts";
export { type RetryPolicy, THREE_TRIES } from "./retry.ts";
export {
  type ChatRequest,
  type FollowOptions,
  type Resynced,
  type Run,
  type RunEvent,
  RunFailed,
  type RunOptions,
  type StartOptions,
  type StartRequest,
} from "./run.ts";
export {
  answerText,
  type ConnectionStatus,
  type Outcome,
  type Pace,
  reduce,
  type RunState,
  type RunStatus,
  type Signal,
  startState,
  type StreamState,
  type ToolCall,
} from "./stream-state.ts";
