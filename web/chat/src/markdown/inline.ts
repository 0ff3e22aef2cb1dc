/** A piece of a text. The spans' texts, joined, are the text. */
export interface Span {
  /** `syntax` belongs to the text, but is not seen. */
  readonly kind: "text" | "code" | "syntax";
  readonly strong: boolean;
  readonly text: string;
}

const MARK = /\\[!-/:-@[-`{-~]|`+|\*\*/g;
// The other half may still come.
const HALF_MARK = /(?:\\|(?<!\*)\*)$/;

/**
 * Return the spans of a text: bold, code, and what a backslash escapes.
 *
 * A mark without its other half on the same line is text. With `live`, more
 * may follow: an open mark on the last line counts already, so that nothing
 * changes its looks when the other half arrives.
 */
export function parseInline(text: string, live = false): readonly Span[] {
  const lines = text.split(/(?<=\n)/);
  return lines.flatMap((line, index) => new Line(line, live && index === lines.length - 1).read());
}

class Line {
  readonly #spans: Span[] = [];
  readonly #text: string;
  readonly #live: boolean;
  #strong = false;
  /** Everything before is in the spans. */
  #at = 0;

  constructor(text: string, live: boolean) {
    this.#text = text;
    this.#live = live;
  }

  read(): readonly Span[] {
    const end = this.#text.length - (this.#live ? (HALF_MARK.exec(this.#text)?.[0].length ?? 0) : 0);
    for (const { 0: mark, index } of this.#text.slice(0, end).matchAll(MARK)) {
      if (index < this.#at) continue;
      this.#take("text", index);
      this.#readMark(mark);
    }
    this.#take("text", Math.max(end, this.#at));
    this.#take("syntax", this.#text.length);
    return this.#spans;
  }

  #readMark(mark: string): void {
    if (mark.startsWith("`")) this.#readCode(mark);
    else if (mark === "**") this.#readStrong();
    else {
      this.#take("syntax", this.#at + 1);
      this.#take("text", this.#at + 1);
    }
  }

  #readCode(mark: string): void {
    const begin = this.#at + mark.length;
    const close = new RegExp(`(?<!\`)${mark}(?!\`)`).exec(this.#text.slice(begin))?.index;
    if (close === undefined && !this.#live) {
      this.#take("text", begin);
      return;
    }
    this.#take("syntax", begin);
    this.#take("code", close === undefined ? this.#text.length : begin + close);
    if (close !== undefined) this.#take("syntax", this.#at + mark.length);
  }

  #readStrong(): void {
    const changes = this.#strong ? this.#closes() : this.#opens();
    this.#take(changes ? "syntax" : "text", this.#at + 2);
    if (changes) this.#strong = !this.#strong;
  }

  #closes(): boolean {
    return /\S$/.test(this.#text.slice(0, this.#at));
  }

  /** Behind a letter or a digit it does not open: 2**3 is no bold 3. */
  #opens(): boolean {
    const before = this.#text.slice(0, this.#at);
    const behind = this.#text.slice(this.#at + 2);
    if (/[A-Za-z0-9]$/.test(before) || /^\s/.test(behind)) return false;
    return this.#live || /\S\*\*/.test(behind);
  }

  #take(kind: Span["kind"], end: number): void {
    if (end > this.#at)
      this.#spans.push({ kind, strong: this.#strong, text: this.#text.slice(this.#at, end) });
    this.#at = end;
  }
}
