/** An edge of one process, with runs that the test writes: for tests of sessions and of several tabs. */
import type { TranscriptTurn } from "./records.ts";
import { frame } from "./scripted-server.ts";

const encoder = new TextEncoder();

/** Small, so that tests meet several pages. */
const MAX_PAGE = 3;

/** A run that any number of readers follow. */
export class ScriptedRun {
  readonly frames: string[] = [];
  readonly readers = new Set<ReadableStreamDefaultController<Uint8Array>>();
  ended = false;
  text = "";

  constructor(
    readonly runId: string,
    readonly sessionId: string,
    readonly message: string,
  ) {
    this.add({ type: "run_started", runId, sessionId, agent: "pace" });
  }

  add(fields: { readonly type: string; readonly content?: string } & Record<string, unknown>): void {
    const text = frame(this.frames.length + 1, fields).replace("id: r1.", `id: ${this.runId}.`);
    this.frames.push(text);
    if (fields.type === "text_delta") this.text += fields.content ?? "";
    this.ended = fields.type === "done" || fields.type === "error";
    for (const reader of this.readers) {
      reader.enqueue(encoder.encode(text));
      if (this.ended) reader.close();
    }
  }

  say(content: string): void {
    this.add({ type: "text_delta", content });
  }

  finish(finishReason = "stop"): void {
    this.add({ type: "done", finalMessage: this.text, finishReason });
  }

  /** Break the connections of all readers. */
  cut(): void {
    for (const reader of this.readers) reader.error(new TypeError("network error"));
    this.readers.clear();
  }

  follow(after: number, signal: AbortSignal | null | undefined): Response {
    let reader: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        reader = controller;
        controller.enqueue(encoder.encode(`: open\n\n${this.frames.slice(after).join("")}`));
        if (this.ended) controller.close();
        else this.readers.add(controller);
      },
    });
    signal?.addEventListener("abort", () => {
      if (reader !== undefined && this.readers.delete(reader)) reader.error(signal.reason);
    });
    const headers = { "content-type": "text/event-stream", "run-id": this.runId, "timing-token": "t" };
    return new Response(body, { headers });
  }
}

/** Answers like an edge, for as many clients as there are. */
export class ScriptedEdge {
  readonly runs: ScriptedRun[] = [];
  /** "METHOD path", as they came. */
  readonly requests: string[] = [];
  /** Answers that come first, once each. */
  readonly refusals: (() => Response)[] = [];
  /** Transcripts leave the texts out. */
  tooLong = false;
  readonly #byKey = new Map<string, ScriptedRun>();

  /** The run that was started last. */
  get run(): ScriptedRun {
    const run = this.runs.at(-1);
    if (run === undefined) throw new Error("No run was started.");
    return run;
  }

  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input as string, "http://edge");
    const path = url.pathname;
    this.requests.push(`${init.method ?? "GET"} ${path}`);
    await Promise.resolve();
    init.signal?.throwIfAborted();
    const refusal = this.refusals.shift();
    if (refusal !== undefined) return refusal();
    const headers = new Headers(init.headers);
    const [, runId, action] = /^\/api\/runs\/([^/]+)\/?(\w*)/.exec(path) ?? [];
    if (path === "/api/chat") return this.#start(init, headers);
    if (path.endsWith("/transcript")) return this.#transcript(path.split("/")[3] ?? "", url.searchParams);
    const run = this.runs.find((one) => one.runId === runId);
    if (run === undefined) return Response.json({ code: "NOT_FOUND" }, { status: 404 });
    if (action === "cancel") {
      if (!run.ended) run.finish("cancelled");
      return Response.json({ runId, state: "ended" });
    }
    const after = Number(headers.get("last-event-id")?.split(".").at(-1) ?? 0);
    return run.follow(after, init.signal);
  };

  /** Return how often something was requested. */
  count(request: string): number {
    return this.requests.filter((one) => one === request).length;
  }

  #start(init: RequestInit, headers: Headers): Response {
    const { message, sessionId } = JSON.parse(init.body as string) as { message: string; sessionId: string };
    const key = headers.get("idempotency-key") ?? "";
    const known = this.#byKey.get(key);
    if (known !== undefined) return known.follow(0, init.signal);
    const busy = this.runs.find((run) => run.sessionId === sessionId && !run.ended);
    if (busy !== undefined) {
      const details = { reason: "SESSION_BUSY", run_id: busy.runId };
      return Response.json({ code: "ABORTED", retryable: true, details }, { status: 409 });
    }
    const run = new ScriptedRun(`r${this.runs.length + 1}`, sessionId, message);
    this.runs.push(run);
    this.#byKey.set(key, run);
    return run.follow(0, init.signal);
  }

  #transcript(sessionId: string, query: URLSearchParams): Response {
    const turns = this.runs
      .filter((run) => run.sessionId === sessionId)
      .map((run): TranscriptTurn => ({
        runId: run.runId,
        message: run.message,
        state: run.ended ? "ended" : "running",
        terminal: run.ended ? { event: "done", reason: "stop" } : null,
        text: run.ended && !this.tooLong ? run.text : null,
        first: `${run.runId}.1.1`,
        last: `${run.runId}.1.${run.frames.length}`,
        createTime: "2026-11-28T07:00:00.000+00:00",
      }));
    if (query.get("order") === "newest") turns.reverse();
    const start = Number(query.get("pageToken") ?? 0);
    const end = start + Math.min(Number(query.get("pageSize")), MAX_PAGE);
    return Response.json({
      turns: turns.slice(start, end),
      nextPageToken: end < turns.length ? `${end}` : "",
    });
  }
}
