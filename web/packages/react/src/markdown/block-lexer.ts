import { Lexer, type Token, Tokenizer, type Tokens } from "marked";

// Each level lexes its content again. People write three; a model that wrote `> > > …` for 80,000 characters
// would otherwise end in a stack overflow.
const MAX_DEPTH = 8;

// marked fills each row up to the header's length: a header of 1,500 columns makes 450,000 cells of 300 short lines.
const MAX_CELLS_PER_CHARACTER = 2;

// Only lines that have the sign. marked lexes a list in a quote again for each line without it: 300 took 1 s.
const QUOTED_LINES = /^(?: {0,3}>[^\n]*(?:\n|$))+/;

/**
 * Blocks of GitHub's Markdown, without HTML and without definitions of references.
 *
 * HTML is text here. A definition would change text far before it, so `[a]: https://…` stays as it was written.
 */
class BlockTokenizer extends Tokenizer {
  #depth = 0;

  override html(): undefined {
    return undefined;
  }

  override def(): undefined {
    return undefined;
  }

  override blockquote(source: string): Tokens.Blockquote | undefined {
    const quoted = QUOTED_LINES.exec(source)?.[0];
    return quoted === undefined ? undefined : this.#nested(() => super.blockquote(quoted));
  }

  override list(source: string): Tokens.List | undefined {
    return this.#nested(() => super.list(source));
  }

  override table(source: string): Tokens.Table | undefined {
    if (isMostlyFilling(source)) return undefined;
    const table = super.table(source);
    if (table !== undefined) table.rows = table.rows.map(withoutFilling);
    return table;
  }

  #nested<T>(lex: () => T | undefined): T | undefined {
    if (this.#depth >= MAX_DEPTH) return undefined;
    this.#depth += 1;
    try {
      return lex();
    } finally {
      this.#depth -= 1;
    }
  }
}

function isMostlyFilling(source: string): boolean {
  const table = /^(?:[^\n]+\n?)*/.exec(source)?.[0] ?? "";
  const lines = table.split("\n");
  const columns = lines[0]?.split("|").length ?? 0;
  return columns * lines.length > MAX_CELLS_PER_CHARACTER * table.length;
}

function withoutFilling(row: Tokens.TableCell[]): Tokens.TableCell[] {
  return row.slice(0, row.findLastIndex(({ text }) => text !== "") + 1);
}

const lexer = new Lexer({ gfm: true, tokenizer: new BlockTokenizer() });

/** Return the blocks of a text. What stands in a line is lexed when its block is drawn, not here. */
export function lexBlocks(source: string): Token[] {
  const tokens = lexer.blockTokens(source, []);
  lexer.inlineQueue = [];
  return tokens;
}
