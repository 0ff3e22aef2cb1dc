/**
 * A FAKE edge, for work on the page without agents: scripted answers, no model, no core.
 *
 * It serves the built page with the real edge's content security policy, and plays a script that the
 * question's first word names: tools, error, refuse, slow, drop, lost, code; anything else is a plain answer.
 *
 *   npm run build && npm run fake          # http://127.0.0.1:8000
 */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const PORT = Number(process.env.PORT ?? 8000);
const STATIC = new URL("../../edge/static/", import.meta.url);
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

const FRUITS =
  "Three fruits, from crisp to soft:\n\n1. Apples keep for months in a cool cellar.\n2. Pears ripen from the inside out.\n3. Figs are best on the day they fall.";
const QUERY = {
  sql: "select fund, sum(quantity * price) as nav from holdings group by fund",
  asOf: "2025-11-21",
};
const ROWS = [
  { fund: "Harbour Growth", nav: 18231044.12 },
  { fund: "Southern Bond", nav: 9120377.5 },
];

/** What an agent would yield: `[pause in ms, event]`. */
const SCRIPTS = {
  plain: () => [[300], ...words(FRUITS, 35)],
  slow: () => [[300], ...words(`${FRUITS}\n\n`.repeat(20), 60)],
  code: () => [
    [100],
    ...words(
      "<img src=x onerror=alert(1)>\n<b>not bold</b>\n\nhttps://example.invalid/".concat("x".repeat(90)),
      10,
    ),
  ],
  tools: () => [
    [100, { type: "reasoning_delta", content: "Holdings first, then prices; the values follow from both." }],
    [150, { type: "progress", percent: 10, message: "Fetching holdings" }],
    [150, { type: "tool_start", callId: "c1", tool: "query_database", args: QUERY }],
    [400, { type: "tool_result", callId: "c1", tool: "query_database", result: ROWS, isError: false }],
    [100, { type: "tool_start", callId: "c2", tool: "fetch_price", args: { isin: "AU000000BHP4" } }],
    [
      300,
      {
        type: "tool_result",
        callId: "c2",
        tool: "fetch_price",
        result: "No price for this day.",
        isError: true,
      },
    ],
    [100, { type: "progress", percent: 62, message: "Calculating net asset values" }],
    [100, { type: "tool_start", callId: "c3", tool: "validate", args: { funds: 2, tolerance: 0.01 } }],
    [2500, { type: "tool_result", callId: "c3", tool: "validate", result: { ok: true }, isError: false }],
    [50, { type: "progress", percent: 100, message: "Complete" }],
    ...words("Two funds, 27.4 million in all. Harbour Growth leads with 18.2 million.", 40),
  ],
  error: () => [
    ...words("The first quarter began with", 40),
    [
      100,
      {
        type: "error",
        code: "UNAVAILABLE",
        message: "The model is busy right now.",
        retryable: true,
        traceId: TRACE,
      },
    ],
  ],
  drop: () => [
    ...words("This line breaks here, and is taken up again", 60),
    [0, "drop"],
    ...words(" without a word lost.", 60),
  ],
  lost: () => [...words("This run is lost", 60), [0, "vanish"]],
};

function words(text, pauseMs) {
  return text.split(/(?<=\s)/).map((content) => [pauseMs, { type: "text_delta", content }]);
}

/** A run lives apart from its connections, as the real ones do. */
class Run {
  constructor(id, script) {
    this.id = id;
    this.frames = [];
    this.followers = new Set();
    this.text = "";
    this.cancelled = false;
    void this.play(script);
  }

  async play(script) {
    const traceparent = `00-${TRACE}-00f067aa0ba902b7-01`;
    this.add({
      type: "run_started",
      runId: this.id,
      sessionId: "s",
      agent: "fake",
      model: "scripted",
      traceparent,
    });
    for (const [pauseMs, event] of script) {
      await sleep(pauseMs);
      if (this.cancelled) break;
      if (event === "drop") for (const follower of this.followers) follower.destroy();
      else if (event === "vanish") return this.vanish();
      else if (event) this.add(event);
      if (event?.type === "error") return;
    }
    const usage = { inputTokens: 14, outputTokens: this.frames.length };
    const finishReason = this.cancelled ? "cancelled" : "stop";
    this.add({ type: "done", finalMessage: this.text, finishReason, usage });
  }

  vanish() {
    runs.delete(this.id);
    for (const follower of this.followers) follower.destroy();
  }

  add(event) {
    if (event.type === "text_delta") this.text += event.content;
    const frame = `id: ${this.id}.1.${this.frames.length + 1}\ndata: ${JSON.stringify({ ...event, timestamp: Date.now() })}\n\n`;
    this.frames.push(frame);
    this.ended = event.type === "done" || event.type === "error";
    for (const follower of this.followers) this.send(follower, frame);
  }

  follow(response, after) {
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
      "run-id": this.id,
    });
    this.followers.add(response);
    response.on("close", () => this.followers.delete(response));
    this.send(response, `retry: 500\n\n: open\n\n${this.frames.slice(after).join("")}`);
  }

  send(response, text) {
    response.write(text);
    if (this.ended) response.end();
  }
}

const runs = new Map();

async function ask(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { message } = JSON.parse(Buffer.concat(chunks).toString());
  const word = /^\w*/.exec(message.toLowerCase())[0];
  if (word === "refuse")
    return problem(response, 429, "RESOURCE_EXHAUSTED", "Too many runs at once. Wait a moment.", true);
  const run = new Run(`fake${Date.now().toString(36)}`, (SCRIPTS[word] ?? SCRIPTS.plain)());
  runs.set(run.id, run);
  run.follow(response, 0);
}

function problem(response, status, code, detail, retryable) {
  response.writeHead(status, { "content-type": "application/problem+json" });
  response.end(JSON.stringify({ type: "about:blank", title: code, status, detail, code, retryable }));
}

async function page(path, response) {
  const name = path === "/" ? "index.html" : path.slice(1);
  const body = await readFile(new URL(name, STATIC)).catch(() => undefined);
  const headers = {
    "content-type": TYPES[extname(name)] ?? "text/plain",
    "content-security-policy": "default-src 'self'",
  };
  response.writeHead(body ? 200 : 404, headers);
  response.end(body);
}

async function answer(request, response) {
  const path = new URL(request.url, "http://fake").pathname;
  const [, runId, verb] = /^\/api\/runs\/(\w+)\/(\w+)$/.exec(path) ?? [];
  const run = runs.get(runId);
  if (path === "/api/chat") return ask(request, response);
  if (runId && !run) return problem(response, 404, "NOT_FOUND", "This run is not here.", false);
  if (verb === "events")
    return run.follow(response, Number(request.headers["last-event-id"]?.split(".")[2] ?? 0));
  if (verb === "cancel") {
    run.cancelled = true;
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(JSON.stringify({ runId, state: "cancelling" }));
  }
  return page(path, response);
}

createServer((request, response) => void answer(request, response).catch(() => response.destroy())).listen(
  PORT,
  "127.0.0.1",
  () => process.stdout.write(`A FAKE edge, scripted: http://127.0.0.1:${PORT}\n`),
);
