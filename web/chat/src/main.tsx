import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { agentOf } from "./agent-of.ts";
import { ApiKey, tabStorage } from "./api-key.ts";
import { App } from "./app.tsx";
import { ChatStore } from "./chat-store.ts";
import { newId } from "./new-id.ts";
import "./page.css";
import "./markdown.css";
import "./tools.css";
import "./key-form.css";

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no #root.");

// One session per page load: the server gives the agent the turns before as history.
const agent = agentOf(location.search);
const apiKey = new ApiKey(tabStorage());
const store = new ChatStore({ sessionId: newId(), apiKey, ...(agent === undefined ? {} : { agent }) });
createRoot(root).render(
  <StrictMode>
    <App store={store} apiKey={apiKey} agent={agent} />
  </StrictMode>,
);
