import type { Token } from "marked";
import { lexBlocks } from "./block-lexer.ts";
import {
  countCertain,
  cutLength,
  findLong,
  headerOf,
  isFenced,
  windowEnd,
  type WindowLimits,
} from "./block-window.ts";

/** One block of an answer: a paragraph, a list, a table. */
export interface Block {
  /** Where the block begins, which is its name: it stays while text grows behind it. */
  readonly offset: number;
  readonly token: Token;
}

// Some of marked's rules are quadratic within one block: a list item of 32,000 short lines took 9 s. Within
// these limits the worst kind found takes 20 ms. A block that is longer is cut into several of its kind.
const LIMITS: WindowLimits = { characters: 8_000, lines: 300 };

const BLANK_LINES = /(?:[ \t]*\n)*/y;

/**
 * The blocks of a text that grows at its end.
 *
 * Only what further text can change is lexed again: the last three blocks. The blocks are those of the whole text,
 * in whatever pieces it came.
 */
export class GrowingBlocks {
  readonly #limits: WindowLimits;
  #text = "";
  /** Blocks that no further text can change; they end at `#end`. */
  #finished: Block[] = [];
  #end = 0;
  /** The header of the table that was cut at `#end`. */
  #header = "";
  #blocks: readonly Block[] = [];

  constructor(limits: WindowLimits = LIMITS) {
    this.#limits = limits;
  }

  /** Return the blocks of the text; the same array for the same text. */
  read(source: string): readonly Block[] {
    const text = source.includes("\r") ? source.replace(/\r\n?/g, "\n") : source;
    if (text === this.#text) return this.#blocks;
    if (!text.startsWith(this.#text)) this.#forget();
    this.#text = text;
    const tail = this.#finishWindows();
    this.#blocks = [...this.#finished, ...this.#place(tail)];
    return this.#blocks;
  }

  #forget(): void {
    this.#finished = [];
    this.#end = 0;
    this.#header = "";
  }

  /** Finish window after window, and return the tokens of the last one, which text can still change. */
  #finishWindows(): readonly Token[] {
    const text = this.#text;
    for (;;) {
      BLANK_LINES.lastIndex = this.#end;
      if (this.#header === "") this.#end += BLANK_LINES.exec(text)?.[0].length ?? 0;
      const end = windowEnd(text, this.#end, this.#limits);
      const tokens = lexBlocks(this.#header + text.slice(this.#end, end));
      const isFull = end < text.length;
      const certain = countCertain(tokens, isFull, this.#limits);
      const long = findLong(tokens, isFull, this.#limits);
      if (certain > 0) this.#finish(tokens.slice(0, certain));
      else if (long !== undefined) this.#cut(long);
      else return tokens;
    }
  }

  #finish(tokens: readonly Token[]): void {
    this.#finished.push(...this.#place(tokens));
    this.#end += lengthOf(tokens) - this.#header.length;
    this.#header = "";
  }

  /** Finish as much of a long block as a block may have. */
  #cut(token: Token): void {
    if (isFenced(token)) {
      this.#finish([token]);
      return;
    }
    const { characters, lines } = this.#limits;
    const half = { characters: characters / 2, lines: lines / 2 };
    const part = token.raw.slice(0, windowEnd(token.raw, 0, half));
    const [first] = lexBlocks(part);
    const length = first === undefined ? 0 : cutLength(first);
    const header = headerOf(token);
    // Less than one row beyond the header is no progress.
    const isCut = length > Math.max(this.#header.length, header.length);
    this.#finish(lexBlocks(isCut ? part.slice(0, length) : part));
    if (isCut) this.#header = header;
  }

  #place(tokens: readonly Token[]): readonly Block[] {
    let offset = this.#end - this.#header.length;
    const blocks = tokens.map((token) => {
      const block = { offset: Math.max(offset, this.#end), token };
      offset += token.raw.length;
      return block;
    });
    return blocks.filter(({ token }) => token.type !== "space");
  }
}

function lengthOf(tokens: readonly Token[]): number {
  return tokens.reduce((length, { raw }) => length + raw.length, 0);
}
