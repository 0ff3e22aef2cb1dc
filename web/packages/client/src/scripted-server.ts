/** A scripted server, at the far rim, for the tests of `RunStream`. */
import { RunStream, type RunStreamOptions } from "./run-stream.ts";
import { answerText, reduce, type Signal, type StreamState, startState } from "./stream-state.ts";

const encoder = new TextEncoder();

export type Reply = (url: string, init: RequestInit) => Response | Promise<Response>;

/** A run under test: scripted answers of the server, in order, and what a page would show. */
export class Stage {
  readonly requests: {
    readonly method: string;
    readonly url: string;
    readonly lastEventId: string | null;
  }[] = [];
  readonly cancels: Reply[] = [];
  state: StreamState = startState(0);
  readonly signals: Signal[] = [];
  readonly run: RunStream;
  readonly #replies: Reply[];

  constructor(replies: readonly Reply[], options: Partial<RunStreamOptions> = {}) {
    this.#replies = [...replies];
    this.run = new RunStream(
      { message: "List three fruits.", sessionId: "s" },
      {
        fetch: (url, init) => this.#answer(url as string, init ?? {}),
        sleep: () => Promise.resolve(),
        now: () => 1,
        onSignal: (signal) => {
          this.signals.push(signal);
          this.state = reduce(this.state, signal);
        },
        ...options,
      },
    );
  }

  get text(): string {
    return answerText(this.state);
  }

  get failureCode(): string | undefined {
    return this.state.outcome?.kind === "failed" ? this.state.outcome.failure.code : undefined;
  }

  async #answer(url: string, init: RequestInit): Promise<Response> {
    const lastEventId = new Headers(init.headers).get("last-event-id");
    this.requests.push({ method: init.method ?? "GET", url, lastEventId });
    const replies = url.endsWith("/cancel") ? this.cancels : this.#replies;
    const reply = replies.shift();
    if (reply === undefined) throw new TypeError("fetch failed");
    return reply(url, init);
  }
}

export const NETWORK_ERROR: Reply = () => Promise.reject(new TypeError("fetch failed"));

export function frame(sequence: number, fields: object): string {
  return `id: r1.1.${sequence}\ndata: ${JSON.stringify({ timestamp: 5, ...fields })}\n\n`;
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

export function problem(status: number, fields: object): Reply {
  return () =>
    new Response(JSON.stringify(fields), { status, headers: { "content-type": "application/problem+json" } });
}

export const cancelled: Reply = () => Response.json({ runId: "r1", state: "cancelling" });
