/** A scripted server, at the far rim, for the tests of runs. */
import { type ClientOptions, TokenwireClient } from "./client.ts";
import type { Environment, WakeReason } from "./environment.ts";
import type { Run, StartOptions } from "./run.ts";
import { answerText, type RunState, type Signal, startState } from "./stream-state.ts";

const encoder = new TextEncoder();

export type Reply = (url: string, init: RequestInit) => Response | Promise<Response>;

/** A browser's surroundings that the test plays. */
export class ScriptedBrowser implements Environment {
  readonly now = () => performance.now();
  readonly random = () => 0;
  readonly isOnline = () => this.online;
  online = true;
  readonly listeners = new Set<(reason: WakeReason) => void>();
  readonly onWake = (listener: (reason: WakeReason) => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  wake(reason: WakeReason): void {
    for (const listener of this.listeners) listener(reason);
  }
}

export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly lastEventId: string | null;
}

/** Pauses of no time, so many of them. */
export function tries(count: number): { readonly delaysMs: readonly number[] } {
  return { delaysMs: Array.from({ length: count }, () => 0) };
}

/** A run under test: scripted answers of the server, in order, and what a page would show. */
export class Stage {
  readonly requests: SeenRequest[] = [];
  readonly sent: { readonly url: string; readonly init: RequestInit; readonly headers: Headers }[] = [];
  readonly cancels: Reply[] = [];
  readonly signals: Signal[] = [];
  readonly browser: ScriptedBrowser;
  readonly client: TokenwireClient;
  state: RunState = startState(0);
  run!: Run;
  readonly #replies: Reply[];
  readonly #startOptions: StartOptions;

  constructor(
    replies: readonly Reply[],
    options: ClientOptions = {},
    startOptions: StartOptions = {},
    browser = new ScriptedBrowser(),
  ) {
    this.#replies = [...replies];
    this.browser = browser;
    this.#startOptions = startOptions;
    this.client = new TokenwireClient(
      { fetch: (url, init) => this.#answer(url as string, init ?? {}), retry: tries(6), ...options },
      browser,
    );
  }

  /** Ask, and return when there is nothing more to read. */
  async start(): Promise<void> {
    this.run = this.client.startRun(
      { message: "List three fruits.", sessionId: "s" },
      { ...this.#startOptions, onSignal: this.#hear },
    );
    await this.run.finished;
  }

  /** Follow the run, and return when there is nothing more to read. */
  async follow(after?: string): Promise<void> {
    this.run = this.client.followRun("r1", { after, onSignal: this.#hear });
    await this.run.finished;
  }

  /** Take it up again, and return when there is nothing more to read. */
  async resume(): Promise<void> {
    this.run.resume();
    await this.run.finished;
  }

  get text(): string {
    return answerText(this.state);
  }

  get failureCode(): string | undefined {
    return this.state.outcome?.kind === "failed" ? this.state.outcome.failure.code : undefined;
  }

  readonly #hear = (signal: Signal, state: RunState): void => {
    this.signals.push(signal);
    this.state = state;
  };

  async #answer(url: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    this.requests.push({ method: init.method ?? "GET", url, lastEventId: headers.get("last-event-id") });
    this.sent.push({ url, init, headers });
    const replies = url.endsWith("/cancel") ? this.cancels : this.#replies;
    const reply = replies.shift();
    if (reply === undefined) throw new TypeError("fetch failed");
    return reply(url, init);
  }
}

export const NETWORK_ERROR: Reply = () => Promise.reject(new TypeError("fetch failed"));

export function frame(sequence: number, fields: object): string {
  return `data: ${JSON.stringify({ timestamp: 5, ...fields })}\nid: r1.1.${sequence}\n\n`;
}

export const started = frame(1, { type: "run_started", runId: "r1", sessionId: "s", agent: "pace" });
export const token = (sequence: number, content: string) => frame(sequence, { type: "text_delta", content });
export const done = (sequence: number, finalMessage: string, finishReason = "stop") =>
  frame(sequence, { type: "done", finalMessage, finishReason });

export function stream(...chunks: readonly string[]): Reply {
  return () =>
    new Response(new Blob([...chunks]).stream(), {
      headers: { "content-type": "text/event-stream", "run-id": "r1" },
    });
}

/** A stream that stays open: the test writes into it. */
export function openStream(headers: Record<string, string> = { "run-id": "r1" }) {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const reply: Reply = (_url, init) => {
    init.signal?.addEventListener(
      "abort",
      () => void writer.abort(init.signal?.reason).catch(() => undefined),
    );
    return new Response(readable, { headers: { "content-type": "text/event-stream", ...headers } });
  };
  return {
    reply,
    write: (text: string) => writer.write(encoder.encode(text)),
    end: () => writer.close(),
  };
}

export function problem(status: number, fields: object, headers: Record<string, string> = {}): Reply {
  return () =>
    new Response(JSON.stringify(fields), {
      status,
      headers: { "content-type": "application/problem+json", ...headers },
    });
}

export const cancelled: Reply = () => Response.json({ runId: "r1", state: "cancelling" });
