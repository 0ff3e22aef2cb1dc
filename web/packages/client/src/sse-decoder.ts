import type { SseMessage } from "./parse-event.ts";

// A CR LF that a chunk border cuts ends one line all the same: see `#afterCr`.
const FIELD = /^([^:]*):? ?(.*)/s;
const LINE_END = /\r\n|\n|\r/g;

/**
 * Bytes in, whole SSE messages out; knows of no transport.
 *
 * Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export class SseDecoder {
  /** The server's last `retry:` in milliseconds. */
  retryMs: number | undefined;

  // It drops a byte order mark at the start.
  readonly #text = new TextDecoder();
  /** The pieces of the line that is not complete. */
  #line: string[] = [];
  /** The last chunk ended with a CR: an LF that comes first belongs to it. */
  #afterCr = false;
  #data: string[] = [];
  #event = "";
  #id: string | undefined;

  /**
   * Return the messages that this chunk completes, in order.
   *
   * A chunk may end anywhere, inside a code point too. A message that the end
   * of the stream cuts off is never returned: the run's log still has it.
   */
  feed(chunk: Uint8Array): readonly SseMessage[] {
    const text = this.#text.decode(chunk, { stream: true });
    const messages: SseMessage[] = [];
    if (text === "") return messages;
    let start = this.#afterCr && text.startsWith("\n") ? 1 : 0;
    LINE_END.lastIndex = start;
    for (let end; (end = LINE_END.exec(text)) !== null; start = LINE_END.lastIndex) {
      this.#line.push(text.slice(start, end.index));
      this.#takeLine(this.#line.join(""), messages);
      this.#line = [];
    }
    if (start < text.length) this.#line.push(text.slice(start));
    this.#afterCr = text.endsWith("\r");
    return messages;
  }

  #takeLine(line: string, messages: SseMessage[]): void {
    if (line === "") {
      this.#dispatch(messages);
      return;
    }
    const [, field, value = ""] = FIELD.exec(line) ?? [];
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }

  /** A message without data is none. Its id is its own: it does not go on to the next, as in `EventSource`. */
  #dispatch(messages: SseMessage[]): void {
    if (this.#data.length > 0) {
      messages.push({ event: this.#event || undefined, id: this.#id, data: this.#data.join("\n") });
    }
    this.#data = [];
    this.#event = "";
    this.#id = undefined;
  }
}
