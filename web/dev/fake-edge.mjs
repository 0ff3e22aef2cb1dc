/**
 * A FAKE edge, for work on the page without agents: scripted answers, no model, no core.
 *
 * It serves the built page with the real edge's content security policy, and plays a script that the
 * question's first word names: nav, tools, many, marks, error, refuse, slow, drop, lost, code; anything else is a
 * plain answer.
 *
 *   npm run build && npm run fake          # http://127.0.0.1:8000
 *   KEY=secret npm run fake                # asks for that API key
 */
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SCRIPTS, TRACE } from "./scripts.mjs";

const PORT = Number(process.env.PORT ?? 8000);
const KEY = process.env.KEY;
const STATIC = new URL("../../edge/static/", import.meta.url);
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

/** A run lives apart from its connections, as the real ones do. */
class Run {
  constructor(id, { message, sessionId, agent = "fake" }, script) {
    this.id = id;
    this.message = message;
    this.sessionId = sessionId;
    this.agent = agent;
    this.createTime = new Date().toISOString();
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
      sessionId: this.sessionId,
      agent: this.agent,
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
    const frame = `data: ${JSON.stringify({ ...event, timestamp: Date.now() })}\nid: ${this.id}.1.${this.frames.length + 1}\n\n`;
    this.frames.push(frame);
    this.ended = event.type === "done" || event.type === "error";
    if (this.ended) this.terminal = { event: event.type, reason: event.finishReason ?? event.code };
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
  const asked = JSON.parse(Buffer.concat(chunks).toString());
  const word = /^\w*/.exec(asked.message.toLowerCase())[0];
  if (word === "refuse")
    return problem(response, 429, "RESOURCE_EXHAUSTED", "Too many runs at once. Wait a moment.", true);
  const run = new Run(`fake${Date.now().toString(36)}`, asked, (SCRIPTS[word] ?? SCRIPTS.plain)());
  runs.set(run.id, run);
  run.follow(response, 0);
}

function problem(response, status, code, detail, retryable) {
  const challenge = status === 401 ? { "www-authenticate": "Bearer" } : {};
  response.writeHead(status, { "content-type": "application/problem+json", ...challenge });
  response.end(JSON.stringify({ type: "about:blank", title: code, status, detail, code, retryable }));
}

function transcript(sessionId, order, response) {
  const turns = [...runs.values()]
    .filter((run) => run.sessionId === sessionId)
    .map(({ id, message, ended, terminal = null, text, createTime }) => ({
      ...{ runId: id, message, state: ended ? "ended" : "running", terminal, text: ended ? text : null },
      ...{ first: null, last: null, createTime },
    }));
  if (order === "newest") turns.reverse();
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify({ turns, nextPageToken: "" }));
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
  const { pathname: path, searchParams } = new URL(request.url, "http://fake");
  const [, runId, verb] = /^\/api\/runs\/(\w+)\/(\w+)$/.exec(path) ?? [];
  const run = runs.get(runId);
  if (path.startsWith("/api/") && KEY !== undefined && request.headers.authorization !== `Bearer ${KEY}`)
    return problem(response, 401, "UNAUTHENTICATED", "The API key is not valid.", false);
  if (path === "/api/chat") return ask(request, response);
  const [, sessionId] = /^\/api\/sessions\/([^/]+)\/transcript$/.exec(path) ?? [];
  if (sessionId) return transcript(decodeURIComponent(sessionId), searchParams.get("order"), response);
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
