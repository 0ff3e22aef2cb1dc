/**
 * SSE clients as their authors publish them, in a page of the edge: each reads one run to its end.
 *
 * What they see is in `window.seen`, growing while they read.
 */
import { fetchEventSource } from "/stock/fetch-event-source/index.js";

/** The server has refused the request: it is not sent again. */
class Refused extends Error {}

const seen = { text: "", ids: [], ends: 0, closed: false };
window.seen = seen;

/** Take one event; returns whether it was the run's last one. */
function take(id, data) {
  const event = JSON.parse(data);
  seen.ids.push(id);
  if (event.type === "text_delta") seen.text += event.content;
  const ended = event.type === "done" || event.type === "error";
  if (ended) seen.ends += 1;
  return ended;
}

/** Start a run, and follow it by an EventSource, which is never told to close. */
async function followBySource(open, body) {
  const answer = await fetch("/api/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(body),
  });
  const { eventsUrl } = await answer.json();
  const source = open(eventsUrl);
  source.onmessage = ({ lastEventId, data }) => take(lastEventId, data);
  source.onerror = () => {
    seen.closed = source.readyState === source.CLOSED;
  };
}

/** Ask, and read the answer to the question itself. */
async function askByFetch(body) {
  let ended = false;
  await fetchEventSource("/api/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
    body: JSON.stringify({ onDisconnect: "continue", ...body }),
    async onopen({ status }) {
      if (status >= 400 && status < 500) throw new Refused();
    },
    onmessage({ id, event, data }) {
      if (event === "" && data !== "") ended = take(id, data) || ended;
    },
    onclose() {
      if (!ended) throw new Error("The stream ended before the run.");
    },
    onerror(error) {
      if (error instanceof Refused) throw error;
    },
  });
  seen.closed = true;
}

window.read = (client, body) =>
  ({
    EventSource: () => followBySource((url) => new EventSource(url), body),
    "event-source-polyfill": () =>
      followBySource((url) => new EventSourcePolyfill(url, { headers: { Authorization: "Bearer x" } }), body),
    "fetch-event-source": () => askByFetch(body),
  })[client]();
