import { useChat } from "@ai-sdk/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { createResumingChat, loadMessages, stopAnswer } from "./resuming-chat.ts";

const address = new URL(location.href);
// In the address: a reload goes on with an answer that is being written.
if (!address.searchParams.has("chat")) address.searchParams.set("chat", crypto.randomUUID());
history.replaceState(null, "", address);
const id = address.searchParams.get("chat") ?? "";
const chat = createResumingChat(id, await loadMessages(id), address.searchParams.get("agent") ?? undefined);

function Page() {
  const { messages, sendMessage, status, error } = useChat({ chat, resume: true });
  const [text, setText] = useState("");
  const isBusy = status === "submitted" || status === "streaming";
  return (
    <>
      {messages.map((message) => (
        <article key={message.id} data-role={message.role}>
          {message.parts.map((part, index) => {
            if (part.type === "text") return <p key={index}>{part.text}</p>;
            if (part.type === "dynamic-tool") return <code key={index}>{`${part.toolName}: ${part.state}`}</code>;
            return null;
          })}
        </article>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void sendMessage({ text });
          setText("");
        }}
      >
        <input aria-label="Message" value={text} onChange={(event) => setText(event.target.value)} />
        {isBusy ? (
          <button type="button" onClick={() => void stopAnswer(id)}>
            Stop
          </button>
        ) : (
          <button>Send</button>
        )}
        <output>{status}</output>
      </form>
    </>
  );
}

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root.");
createRoot(root).render(<Page />);
