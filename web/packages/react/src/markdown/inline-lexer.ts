import { Lexer, type Token, Tokenizer, type Tokens } from "marked";
import { isHighSurrogate } from "./block-window.ts";

const LINE_BREAK = /^<br\s*\/?>/i;

/** What stands in a line, without HTML and without references. */
class InlineTokenizer extends Tokenizer {
  // Models write <br> in the cells of tables, which have no other way to break a line.
  override tag(source: string): undefined {
    const raw = LINE_BREAK.exec(source)?.[0];
    const token: Tokens.Br | undefined = raw === undefined ? undefined : { type: "br", raw };
    // The lexer takes any token from here; only the declared type knows tags alone.
    return token as unknown as undefined;
  }

  override reflink(): undefined {
    return undefined;
  }
}

const lexer = new Lexer({ gfm: true, tokenizer: new InlineTokenizer() });

const PIECE_LENGTH = 2_000;
const MAX_SIGNS = 300;
const SIGNS = /[*_~`[\]<\\!&@]/g;

// Most words and numbers: what has none of these signs, no address and no broken line is text and nothing else.
const MARKUP = /[*_~`[<\\&@:]|www\.| {2}\n/i;

/**
 * Return the text in pieces of bounded length, cut where a line, a sentence or a word ends.
 *
 * Some of marked's rules are quadratic within one run of text: `_a` 8,000 times took 0.5 s. The cuts depend on the
 * text before them alone, so that all pieces but the last stay as they are while the text grows.
 */
export function cutPieces(text: string): readonly string[] {
  const pieces: string[] = [];
  let start = 0;
  while (text.length - start > PIECE_LENGTH) {
    const end = start + cutPlace(text.slice(start, start + PIECE_LENGTH));
    pieces.push(text.slice(start, end));
    start = end;
  }
  pieces.push(text.slice(start));
  return pieces;
}

function cutPlace(piece: string): number {
  for (const border of ["\n", ". ", " "]) {
    const place = piece.lastIndexOf(border);
    if (place > PIECE_LENGTH / 2) return place + border.length;
  }
  return isHighSurrogate(piece.charCodeAt(PIECE_LENGTH - 1)) ? PIECE_LENGTH - 1 : PIECE_LENGTH;
}

/** Return what stands in a piece of a line; as one text where it is no prose but mostly signs. */
export function lexInline(piece: string): readonly Token[] {
  const isPlain = !MARKUP.test(piece) || (piece.match(SIGNS)?.length ?? 0) > MAX_SIGNS;
  return isPlain ? [{ type: "escape", raw: piece, text: piece }] : lexer.inlineTokens(piece);
}
