"use client";

/**
 * Conversations with agents behind a Tokenwire edge, for React.
 *
 * @packageDocumentation
 */
export { StreamingChat, type StreamingChatProps } from "./chat/streaming-chat.tsx";
export { AgentError } from "./hook/agent-error.ts";
export { AgentClientContext } from "./hook/client-context.ts";
export type { AgentMessage } from "./hook/messages.ts";
export {
  type AgentProgress,
  type AgentStream,
  useAgentStream,
  type UseAgentStreamOptions,
} from "./hook/use-agent-stream.ts";
export { Markdown, type MarkdownProps } from "./markdown/markdown.tsx";
