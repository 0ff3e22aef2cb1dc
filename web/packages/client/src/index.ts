export * from "./events.ts";
export type { Failure } from "./failure.ts";
export {
  CONTROL_NAMES,
  EVENT_TYPES,
  type ParsedMessage,
  parseMessage,
  type SseMessage,
} from "./parse-event.ts";
export { SseDecoder } from "./read-stream.ts";
export { type ChatRequest, type RequestHeaders, RunStream, type RunStreamOptions } from "./run-stream.ts";
export {
  answerText,
  type Outcome,
  type Pace,
  reduce,
  type Signal,
  type StreamState,
  startState,
  type ToolCall,
} from "./stream-state.ts";
