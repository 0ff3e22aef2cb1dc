import { createClient, newId } from "@tokenwire/client";
import { retainSession } from "@tokenwire/client/session";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiKey, browserStorage } from "./api-key.ts";
import { App } from "./app.tsx";
import { Conversations } from "./conversations.ts";
import { LatencySwitch } from "./latency/latency-switch.ts";
import { readAddress } from "./page-address.ts";
import "@tokenwire/react/styles.css";
import "./page.css";
import "./key-form.css";
import "./drawer.css";

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no #root.");

const { agent, sessionId: known } = readAddress(location.search);
const sessionId = known ?? newId();
const apiKey = new ApiKey(browserStorage("sessionStorage"));
const conversations = new Conversations(browserStorage("localStorage"));
const latency = new LatencySwitch(browserStorage("sessionStorage"));
const client = createClient({ headers: apiKey.headers });

// For a look at what the page holds, from the browser's console and from tests: the exact texts above all.
const timing = () => latency.getChoice().open;
const options = { sessionId, timing, ...(agent === undefined ? {} : { agent }) };
const { session } = retainSession(client, options);
Object.assign(window, { tokenwire: session });

createRoot(root).render(
  <StrictMode>
    <App
      client={client}
      apiKey={apiKey}
      conversations={conversations}
      latency={latency}
      sessionId={sessionId}
      isKnown={known !== undefined}
      agent={agent}
    />
  </StrictMode>,
);
