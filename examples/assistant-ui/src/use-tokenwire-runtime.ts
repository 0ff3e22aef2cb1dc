import { type AssistantRuntime, type ThreadMessageLike, useExternalStoreRuntime } from "@assistant-ui/react";
import type { RunState } from "@tokenwire/client";
import { type AgentMessage, useAgentStream, type UseAgentStreamOptions } from "@tokenwire/react";

/** Return a conversation as assistant-ui's components show it: they draw, and the store of the session keeps it. */
export function useTokenwireRuntime(options: UseAgentStreamOptions): AssistantRuntime {
  const { messages, isLoading, snapshot, sendMessage, abort, retry, regenerate } = useAgentStream(options);
  return useExternalStoreRuntime<AgentMessage>({
    messages,
    convertMessage,
    isRunning: isLoading,
    isLoading: snapshot.history === "loading",
    onNew: async ({ content }) => {
      await sendMessage(content.map((part) => (part.type === "text" ? part.text : "")).join(""));
    },
    onCancel: async () => abort(), // Stop, at the server; leaving the page is not
    onReload: async () => void (retry() || regenerate()),
  });
}

function convertMessage({ id, role, content, timestamp, run }: AgentMessage): ThreadMessageLike {
  const text = { type: "text", text: content } as const;
  if (run === undefined) return { id, role, createdAt: timestamp, content: [text] };
  const reasoning = run.reasoning === "" ? [] : [{ type: "reasoning", text: run.reasoning } as const];
  const tools = run.tools.map(({ callId, tool, args, outcome }) => ({
    type: "tool-call" as const,
    toolCallId: callId,
    toolName: tool,
    argsText: JSON.stringify(args),
    ...outcome, // result, isError
  }));
  return { id, role, createdAt: timestamp, status: statusOf(run), content: [...reasoning, ...tools, text] };
}

function statusOf({ outcome }: RunState): NonNullable<ThreadMessageLike["status"]> {
  if (outcome === undefined) return { type: "running" };
  if (outcome.kind === "failed") return { type: "incomplete", reason: "error", error: outcome.failure.message };
  const { finishReason } = outcome;
  if (finishReason === "stop") return { type: "complete", reason: "stop" };
  return { type: "incomplete", reason: finishReason === "tool_limit" ? "other" : finishReason };
}
