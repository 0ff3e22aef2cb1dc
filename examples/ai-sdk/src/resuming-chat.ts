import { Chat } from "@ai-sdk/react";
import { DefaultChatTransport, type UIMessage } from "ai";

const API = "/api/ai-sdk/chat";
const RETRY_MS = 1000;

interface Turn {
  runId: string;
  message: string;
  text: string | null;
}

/** Returns a chat that goes on after a broken connection. */
export function createResumingChat(id: string, messages: UIMessage[], agent?: string) {
  const chat: Chat<UIMessage> = new Chat({
    id,
    messages,
    transport: new DefaultChatTransport({ api: agent ? `${API}?agent=${encodeURIComponent(agent)}` : API }),
    onError(error) {
      // The network's errors alone: a refused question or a failed run would only fail again.
      if (error instanceof TypeError) setTimeout(() => void chat.resumeStream(), RETRY_MS);
    },
  });
  return chat;
}

/** Stops the answer that is being written. The SDK's own `stop` ends the connection, which the run survives. */
export async function stopAnswer(id: string) {
  await fetch(`${API}/${encodeURIComponent(id)}/stop`, { method: "POST" });
}

/** Returns what was said in a chat, for a page that was reloaded. The SDK adds the answer that goes on. */
export async function loadMessages(id: string): Promise<UIMessage[]> {
  const response = await fetch(`/api/sessions/${encodeURIComponent(id)}/transcript?pageSize=100`);
  const { turns } = (await response.json()) as { turns: Turn[] };
  return turns.flatMap(({ runId, message, text }) => [
    { id: `${runId}-question`, role: "user" as const, parts: [{ type: "text" as const, text: message }] },
    // An answer's id is its run's: one that is streamed again replaces itself.
    ...(text === null ? [] : [{ id: runId, role: "assistant" as const, parts: [{ type: "text" as const, text }] }]),
  ]);
}
