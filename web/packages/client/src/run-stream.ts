import { type Cursor, compareCursors, parseCursor } from "./cursor.ts";
import type { StreamEvent } from "./events.ts";
import { type Failure, RequestFailed } from "./failure.ts";
import { type ParsedMessage, parseMessage, type SseMessage } from "./parse-event.ts";
import { SseConnection } from "./read-stream.ts";
import { type Signal, traceIdOf } from "./stream-state.ts";

export interface ChatRequest {
  readonly message: string;
  readonly sessionId: string;
  readonly agent?: string;
  readonly userId?: string;
  readonly onDisconnect?: "cancel" | "grace" | "continue";
}

/** Headers for every request, or what returns them: it is asked anew before each one. */
export type RequestHeaders = HeadersInit | (() => HeadersInit | Promise<HeadersInit>);

export interface RunStreamOptions {
  readonly onSignal: (signal: Signal) => void;
  /** Sent when asking, resuming and stopping, as `Authorization`. A function that throws is a connection that fails. */
  readonly headers?: RequestHeaders;
  /** Origin of the edge; empty for the page's own. */
  readonly baseUrl?: string;
  readonly fetch?: typeof fetch;
  readonly now?: () => number;
  readonly sleep?: (ms: number) => Promise<void>;
  /** Three heartbeats (15 s) missed: the connection is dead, whatever TCP thinks. */
  readonly idleTimeoutMs?: number;
  /** Attempts in a row that bring nothing new before the loss is shown. */
  readonly maxAttempts?: number;
}

type ErrorEvent = Extract<StreamEvent, { type: "error" }>;

/** How one connection ended. */
type End =
  | { readonly kind: "finished" }
  | { readonly kind: "broken"; readonly retryMs?: number }
  | { readonly kind: "failed"; readonly failure: Failure };

const DEFAULTS = {
  headers: {},
  baseUrl: "",
  fetch: (...args: Parameters<typeof fetch>) => fetch(...args),
  now: () => performance.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
  idleTimeoutMs: 45_000,
  maxAttempts: 6,
};

const BACKOFF_FIRST_MS = 500;
const BACKOFF_LAST_MS = 8_000;
const CANCEL_ATTEMPTS = 4;
// After the terminal event the server closes by itself; closing first would look like a client that left.
const LINGER_MS = 2_000;

/**
 * One run, from the question to its terminal event.
 *
 * A stream that ends without a terminal event is taken up again behind the
 * last event that was seen; the question is never asked twice. Events that
 * come twice are passed over.
 */
export class RunStream {
  readonly #request: ChatRequest;
  readonly #options: Required<RunStreamOptions>;
  #connection: SseConnection | undefined;
  #runId: string | undefined;
  #cursor: Cursor | undefined;
  #finished = false;
  #closed = false;
  #following = false;
  #stopRequested = false;
  #cancelling = false;
  /** The present connection has brought something: events, or that there are none yet. */
  #heard = false;

  constructor(request: ChatRequest, options: RunStreamOptions) {
    this.#request = request;
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Ask, and read until the run has ended or is given up. */
  async start(): Promise<void> {
    await this.#keepReading(0, () => this.#ask());
  }

  /** Take a lost run up again behind the last event that was seen. */
  async resume(): Promise<void> {
    if (this.#runId === undefined || this.#finished || this.#following) return;
    this.#emit({ kind: "reconnecting", attempt: 1 });
    await this.#keepReading(1, () => this.#follow());
  }

  /** Cancel the run as soon as its id is known, and go on reading: the text so far stays. */
  stop(): void {
    if (this.#finished || this.#stopRequested) return;
    this.#stopRequested = true;
    this.#emit({ kind: "stop_requested" });
    void this.#cancelOnceKnown();
  }

  /** Leave without a word: no more signals. What becomes of the run is up to its `onDisconnect`. */
  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }

  async #keepReading(attempt: number, open: () => Promise<Response>): Promise<void> {
    this.#following = true;
    try {
      await this.#readAndResume(attempt, open);
    } finally {
      this.#following = false;
    }
  }

  async #readAndResume(firstAttempt: number, firstOpen: () => Promise<Response>): Promise<void> {
    let attempt = firstAttempt;
    let open = firstOpen;
    while (!this.#isClosed()) {
      this.#heard = false;
      const connection = new SseConnection(this.#options);
      this.#connection = connection;
      const end = await this.#readOnce(connection, open);
      if (this.#isClosed() || end.kind === "finished") return;
      attempt = this.#wasHeard() ? 1 : attempt + 1;
      if (end.kind === "failed" || this.#runId === undefined || attempt > this.#options.maxAttempts) {
        this.#emit({ kind: "failed", failure: end.kind === "failed" ? end.failure : this.#lost() });
        return;
      }
      this.#emit({ kind: "reconnecting", attempt });
      await this.#options.sleep(end.retryMs ?? backoffMs(attempt, connection.retryMs));
      open = () => this.#follow();
    }
  }

  async #readOnce(connection: SseConnection, open: () => Promise<Response>): Promise<End> {
    try {
      const response = await open();
      this.#opened(response);
      return await this.#readMessages(connection, response);
    } catch (error) {
      if (this.#finished) return { kind: "finished" };
      if (error instanceof RequestFailed) return this.#refused(error);
      // Before the first answer nobody knows whether the run was started: that is for the user to decide.
      if (this.#runId === undefined) return { kind: "failed", failure: UNREACHABLE };
      return { kind: "broken" };
    } finally {
      connection.close();
    }
  }

  async #readMessages(connection: SseConnection, response: Response): Promise<End> {
    for await (const messages of connection.messages(response)) {
      const atMs = this.#options.now();
      for (const message of messages) {
        if (this.#closed) return { kind: "finished" };
        const end = this.#finished ? undefined : this.#take(message, atMs);
        if (end?.kind === "finished") connection.hurry(LINGER_MS);
        else if (end !== undefined) return end;
      }
    }
    return this.#finished ? { kind: "finished" } : { kind: "broken" };
  }

  /** Return how the connection ended if this message ends it. */
  #take(message: SseMessage, atMs: number): End | undefined {
    const parsed = parseMessage(message);
    if (parsed.kind === "control") return this.#takeControl(parsed.frame);
    const place = this.#advance(parsed);
    if (place === "seen") return undefined;
    if (place === "overlap") return { kind: "broken" };
    if (parsed.kind === "malformed") this.#emit({ kind: "gap", restart: false, complete: false });
    if (parsed.kind !== "event") return undefined;
    const { event } = parsed;
    // The edge's own error: it has no way to the run, which may still be there.
    if (
      event.type === "error" &&
      parsed.cursor === undefined &&
      event.retryable &&
      this.#runId !== undefined
    ) {
      return { kind: "failed", failure: failureOf(event) };
    }
    if (event.type === "run_started") this.#learn(event.runId);
    this.#finished = event.type === "done" || event.type === "error";
    this.#emit({ kind: "event", event, atMs });
    return this.#finished ? { kind: "finished" } : undefined;
  }

  #takeControl(frame: Extract<ParsedMessage, { kind: "control" }>["frame"]): End | undefined {
    if (frame.control === "reconnect") return { kind: "broken", retryMs: frame.retryMs };
    if (frame.control === "caught_up") this.#heard = true;
    if (frame.control === "resync") this.#resync(parseCursor(frame.first));
    this.#emit({ kind: "control", frame });
    return undefined;
  }

  /** The stream goes on at `first`: anew when that lies at or before what was seen, behind a gap otherwise. */
  #resync(first: Cursor | undefined): void {
    const restart =
      first !== undefined && this.#cursor !== undefined && compareCursors(first, this.#cursor) <= 0;
    this.#cursor = undefined;
    this.#emit({ kind: "gap", restart, complete: first?.sequence === 1 });
  }

  /** Move the cursor to the message's place, if it has one. */
  #advance(parsed: Exclude<ParsedMessage, { kind: "control" }>): "new" | "seen" | "overlap" {
    const { cursor } = parsed;
    if (cursor === undefined) return "new";
    if (this.#cursor !== undefined) {
      if (compareCursors(cursor, this.#cursor) <= 0) return "seen";
      const first = parsed.kind === "event" && "from" in parsed.event ? parsed.event.from : undefined;
      // A merged frame that begins with text already shown can't be cut: ask for what follows the cursor.
      if (first !== undefined && first <= this.#cursor.sequence) return "overlap";
    }
    this.#cursor = cursor;
    this.#heard = true;
    this.#learn(cursor.runId);
    return "new";
  }

  #opened(response: Response): void {
    const runId = response.headers.get("run-id") ?? undefined;
    const traceId = traceIdOf(response.headers.get("traceparent"));
    this.#emit({ kind: "opened", runId, traceId });
    if (runId !== undefined) this.#learn(runId);
  }

  #learn(runId: string): void {
    if (this.#runId !== undefined) return;
    this.#runId = runId;
    if (this.#stopRequested) void this.#cancelOnceKnown();
  }

  #ask(): Promise<Response> {
    const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
    return this.#open("/api/chat", headers, { method: "POST", body: JSON.stringify(this.#request) });
  }

  #follow(): Promise<Response> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.#cursor !== undefined) headers["Last-Event-ID"] = this.#cursor.id;
    return this.#open(`${this.#runPath()}/events`, headers, { cache: "no-store" });
  }

  async #open(path: string, own: Record<string, string>, init: RequestInit): Promise<Response> {
    const connection = this.#connection;
    if (connection === undefined) throw new Error("No connection was made.");
    const headers = await this.#headers(own);
    return connection.open(this.#options.baseUrl + path, { ...init, headers });
  }

  /** Return the user's headers with the protocol's own, which win. */
  async #headers(own: Record<string, string> = {}): Promise<Headers> {
    const { headers: given } = this.#options;
    const headers = new Headers(typeof given === "function" ? await given() : given);
    for (const [name, value] of Object.entries(own)) headers.set(name, value);
    return headers;
  }

  /** Return how a connection ended that the server refused: for now only, or for good. */
  #refused({ status, failure }: RequestFailed): End {
    if (this.#runId === undefined) return { kind: "failed", failure };
    // 401: the run is still there for whoever comes back with other headers.
    if (status === 401) return { kind: "failed", failure: { ...failure, retryable: true, resumable: true } };
    // 501: a server that can't resume at all will not learn it within the next attempts.
    if (status === 429 || (status >= 500 && status !== 501)) return { kind: "broken" };
    // 204: all that there is has been seen, yet the run's end was not in it.
    if (status === 204) return { kind: "failed", failure: this.#lost() };
    const message = `${LOST.message} ${failure.message}`;
    // What can't be resumed can still be asked again, if the user wants to.
    return { kind: "failed", failure: { ...failure, message, retryable: true } };
  }

  #lost(): Failure {
    return { ...LOST, resumable: this.#runId !== undefined };
  }

  async #cancelOnceKnown(): Promise<void> {
    if (this.#runId === undefined || this.#cancelling) return;
    this.#cancelling = true;
    const cancelled = await this.#cancel();
    this.#cancelling = false;
    if (cancelled || this.#finished) return;
    this.#stopRequested = false;
    this.#emit({ kind: "stop_failed" });
  }

  /** Return whether the server took the request, within a few attempts. Cancelling twice is harmless. */
  async #cancel(): Promise<boolean> {
    for (let attempt = 1; attempt <= CANCEL_ATTEMPTS && !this.#finished && !this.#closed; attempt += 1) {
      const response = await this.#requestCancel().catch(() => undefined);
      if (response?.ok) return true;
      if (response !== undefined && response.status < 500 && response.status !== 429) return false;
      await this.#options.sleep(backoffMs(attempt, undefined));
    }
    return false;
  }

  async #requestCancel(): Promise<Response> {
    const headers = await this.#headers();
    const signal = AbortSignal.timeout(this.#options.idleTimeoutMs);
    const url = `${this.#options.baseUrl}${this.#runPath()}/cancel`;
    return this.#options.fetch(url, { method: "POST", headers, signal });
  }

  #runPath(): string {
    return `/api/runs/${encodeURIComponent(this.#runId ?? "")}`;
  }

  /** A method, because the type checker believes that a field keeps its value across an `await`. */
  #isClosed(): boolean {
    return this.#closed;
  }

  /** The same. */
  #wasHeard(): boolean {
    return this.#heard;
  }

  #emit(signal: Signal): void {
    if (!this.#closed) this.#options.onSignal(signal);
  }
}

/** Return what an edge's own error tells: the run can be taken up again behind the cursor, which has not moved. */
function failureOf({ code, message, traceId }: ErrorEvent): Failure {
  return { code, message, retryable: true, resumable: true, ...(traceId === undefined ? {} : { traceId }) };
}

const UNREACHABLE: Failure = {
  code: "UNAVAILABLE",
  message: "The server can't be reached. Check your connection, then try again.",
  retryable: true,
  resumable: false,
};

const LOST: Failure = {
  code: "CONNECTION_LOST",
  message: "The connection was lost before the answer was complete.",
  retryable: true,
  resumable: true,
};

/** Return a pause that doubles with each attempt, spread by a quarter so that clients do not return in step. */
function backoffMs(attempt: number, retryMs: number | undefined): number {
  const pause = Math.min((retryMs ?? BACKOFF_FIRST_MS) * 2 ** (attempt - 1), BACKOFF_LAST_MS);
  return pause * (0.75 + Math.random() / 2);
}
