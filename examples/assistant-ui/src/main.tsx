import { newId } from "@tokenwire/client";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Chat } from "./chat.tsx";
import "./style.css";

const address = new URL(location.href);
// In the address: a reload, a second tab or another browser goes on where the conversation is.
if (!address.searchParams.has("session")) address.searchParams.set("session", newId());
history.replaceState(null, "", address);

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root.");
createRoot(root).render(
  <StrictMode>
    <Chat
      sessionId={address.searchParams.get("session") ?? ""}
      agent={address.searchParams.get("agent") ?? undefined}
    />
  </StrictMode>,
);
