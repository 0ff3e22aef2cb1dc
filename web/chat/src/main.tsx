import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app.tsx";
import { ChatStore } from "./chat-store.ts";
import { newId } from "./new-id.ts";
import "./page.css";

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no #root.");

// One session per page load: the server gives the agent the turns before as history.
const store = new ChatStore({ sessionId: newId() });
createRoot(root).render(
  <StrictMode>
    <App store={store} />
  </StrictMode>,
);
