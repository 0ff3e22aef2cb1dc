import { createParser, type EventSourceParser } from "eventsource-parser";
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
