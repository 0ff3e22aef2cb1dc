import { RequestFailed, readFailure } from "./failure.ts";
import type { Http } from "./http.ts";
import type { SseMessage } from "./parse-event.ts";
import { SseDecoder } from "./sse-decoder.ts";

// After the terminal event the server closes by itself; closing first would look like a client that left.
const LINGER_MS = 2_000;

/** One SSE response that is being read. Heartbeats keep it alive, silence ends it. */
export class SseConnection {
  readonly #http: Http;
  readonly #stallMs: number;
  readonly #now: () => number;
  readonly #abort = new AbortController();
  readonly #decoder = new SseDecoder();
  #body: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #heardAtMs: number;

  /**
   * @param stallMs - Milliseconds without a single byte after which the connection counts as dead.
   */
  constructor(http: Http, stallMs: number, now: () => number) {
    this.#http = http;
    this.#stallMs = stallMs;
    this.#now = now;
    this.#heardAtMs = now();
  }

  /** The server's last `retry:` in milliseconds. */
  get retryMs(): number | undefined {
    return this.#decoder.retryMs;
  }

  /** Milliseconds since the last byte. */
  get silentMs(): number {
    return this.#now() - this.#heardAtMs;
  }

  /**
   * Return the response once its headers are here.
   *
   * Throws RequestFailed when the answer is no event stream, and what fetch throws when there is none.
   */
  async open(url: string, init: RequestInit, own: Readonly<Record<string, string>>): Promise<Response> {
    this.#kick();
    const response = await this.#http.send(
      url,
      { ...init, cache: "no-store", signal: this.#abort.signal },
      { ...own, Accept: "text/event-stream" },
    );
    const type = response.headers.get("content-type") ?? "";
    if (response.status === 200 && type.startsWith("text/event-stream")) return response;
    throw new RequestFailed(await readFailure(response));
  }

  /**
   * Hand over the messages of each chunk, until the receiver returns something or the stream ends; return that.
   *
   * Throws when the stream breaks.
   */
  async read<T>(
    response: Response,
    take: (messages: readonly SseMessage[]) => T | undefined,
  ): Promise<T | undefined> {
    const reader = response.body?.getReader();
    this.#body = reader;
    if (reader === undefined) return undefined;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      this.#kick();
      const taken = take(this.#decoder.feed(value));
      if (taken !== undefined) return taken;
    }
  }

  /** Throw away what still comes for a moment, for the server is to close first. */
  linger(): void {
    this.#watch(LINGER_MS);
    void this.#drain();
  }

  close(): void {
    clearTimeout(this.#watchdog);
    this.#abort.abort();
  }

  async #drain(): Promise<void> {
    try {
      while ((await this.#body?.read())?.done === false);
    } catch {
      // Cut, or closed by the watchdog: nothing was wanted any more.
    } finally {
      this.close();
    }
  }

  #kick(): void {
    this.#heardAtMs = this.#now();
    this.#watch(this.#stallMs);
  }

  #watch(ms: number): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      this.close();
    }, ms);
  }
}
