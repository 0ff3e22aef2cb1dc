import { createParser, type EventSourceParser } from "eventsource-parser";
import { RequestFailed, readFailure } from "./failure.ts";
import type { SseMessage } from "./parse-event.ts";

/** Bytes in, whole SSE messages out; knows of no transport. */
export class SseDecoder {
  /** The server's last `retry:` in milliseconds. */
  retryMs: number | undefined;

  readonly #text = new TextDecoder();
  readonly #parser: EventSourceParser;
  #ready: SseMessage[] = [];

  constructor() {
    this.#parser = createParser({
      onEvent: (message) => this.#ready.push(message),
      onRetry: (retryMs) => {
        this.retryMs = retryMs;
      },
    });
  }

  /**
   * Return the messages that this chunk completes, in order.
   *
   * A chunk may end anywhere, inside a code point too. A message that the end
   * of the stream cuts off is never returned: the run's log still has it.
   */
  feed(chunk: Uint8Array): readonly SseMessage[] {
    this.#parser.feed(this.#text.decode(chunk, { stream: true }));
    const messages = this.#ready;
    this.#ready = [];
    return messages;
  }
}

export interface StreamOptions {
  readonly fetch: typeof fetch;
  /** Milliseconds without a single byte after which the connection counts as dead. */
  readonly idleTimeoutMs: number;
}

/** One SSE response that is being read. Heartbeats keep it alive, silence ends it. */
export class SseConnection {
  readonly #options: StreamOptions;
  readonly #abort = new AbortController();
  readonly #decoder = new SseDecoder();
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #idleTimeoutMs: number;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#idleTimeoutMs = options.idleTimeoutMs;
  }

  get retryMs(): number | undefined {
    return this.#decoder.retryMs;
  }

  /**
   * Return the response's headers once they are here.
   *
   * Throws RequestFailed when the answer is no event stream, and what fetch
   * throws when there is none.
   */
  async open(url: string, init: RequestInit): Promise<Response> {
    this.#kick();
    const response = await this.#options.fetch(url, { ...init, signal: this.#abort.signal });
    const type = response.headers.get("content-type") ?? "";
    if (response.status === 200 && type.startsWith("text/event-stream")) return response;
    const failure = await readFailure(response);
    this.close();
    throw new RequestFailed(response.status, failure);
  }

  /** Yield the messages of each chunk together; end when the stream ends, throw when it breaks. */
  async *messages(response: Response): AsyncGenerator<readonly SseMessage[], void, void> {
    const reader = response.body?.getReader();
    if (reader === undefined) return;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        this.#kick();
        yield this.#decoder.feed(value);
      }
    } finally {
      this.close();
    }
  }

  /** From now on, close after that much silence. */
  hurry(idleTimeoutMs: number): void {
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#kick();
  }

  close(): void {
    clearTimeout(this.#watchdog);
    this.#abort.abort();
  }

  #kick(): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.#abort.abort();
    }, this.#idleTimeoutMs);
  }
}
