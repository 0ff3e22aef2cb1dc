import type { Token, Tokens } from "marked";

/** How much of a text is lexed at once. */
export interface WindowLimits {
  readonly characters: number;
  readonly lines: number;
}

const FENCE = /^ {0,3}(`{3,}(?=[^`\n]*\n)|~{3,}(?=[^\n]*\n))/;

/** Return where a window that begins at `start` ends: within the limits, or behind the fence that it opens with. */
export function windowEnd(text: string, start: number, limits: WindowLimits): number {
  const end = Math.min(linesEnd(text, start, limits.lines), charactersEnd(text, start, limits.characters));
  // Code goes on to its closing fence, however far that is. Looking for it is cheap.
  return end === text.length ? end : Math.max(end, fenceEnd(text, start));
}

function linesEnd(text: string, start: number, lines: number): number {
  let end = start;
  for (let line = 0; line < lines; line += 1) {
    end = text.indexOf("\n", end) + 1;
    if (end === 0) return text.length;
  }
  return end;
}

function charactersEnd(text: string, start: number, characters: number): number {
  const end = start + characters;
  if (end >= text.length) return text.length;
  return isHighSurrogate(text.charCodeAt(end - 1)) ? end - 1 : end;
}

export function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

/** Return where the code ends that begins at `start`; `start` when none does. */
function fenceEnd(text: string, start: number): number {
  const fence = FENCE.exec(text.slice(start, start + 1_000))?.[1];
  if (fence === undefined) return start;
  const sign = fence.startsWith("~") ? "~" : "`";
  const closing = new RegExp(`\\n {0,3}${sign}{${fence.length},} *(?:\\n|$)`, "g");
  closing.lastIndex = start + fence.length;
  return closing.test(text) ? closing.lastIndex : text.length;
}

// The last line may become anything; what it becomes may join the block before it, and marked looks two lines
// ahead for a table: `a⏎2) x⏎-` are three blocks, with ` b` behind it they are two.
const UNCERTAIN_BLOCKS = 3;

/**
 * Return how many of a window's tokens no further text can change and need no cut.
 *
 * That is all but the last blocks; and the first one, where more text than fits into the window follows: then long
 * ones stand behind it, or blank lines without end.
 */
export function countCertain(tokens: readonly Token[], isFull: boolean, limits: WindowLimits): number {
  const blocks = blocksOf(tokens);
  const known = blocks.at(-UNCERTAIN_BLOCKS) ?? 0;
  const certain = known === 0 && isFull ? (blocks[1] ?? tokens.length) : known;
  const long = tokens.findIndex((token) => isLong(token, limits));
  return long === -1 ? certain : Math.min(certain, long);
}

/** Return the first block of a window if it has to be cut, whatever comes behind it. */
export function findLong(tokens: readonly Token[], isFull: boolean, limits: WindowLimits): Token | undefined {
  const isDecided = isFull || blocksOf(tokens).length > UNCERTAIN_BLOCKS;
  const [first] = tokens;
  return isDecided && first !== undefined && isLong(first, limits) ? first : undefined;
}

function blocksOf(tokens: readonly Token[]): readonly number[] {
  return tokens.flatMap(({ type }, index) => (type === "space" ? [] : [index]));
}

/** Return whether a block takes half of a window, which is as much as a block may have. */
function isLong({ raw }: Token, limits: WindowLimits): boolean {
  return raw.length * 2 > limits.characters || (raw.split("\n").length - 1) * 2 > limits.lines;
}

/** Return where to cut a block that is longer than a window. */
export function cutLength(token: Token): number {
  if (isList(token) && token.items.length > 1) {
    return token.items.slice(0, -1).reduce((length, { raw }) => length + raw.length, 0);
  }
  const line = token.raw.lastIndexOf("\n", token.raw.length - 2) + 1;
  const word = token.raw.lastIndexOf(" ") + 1;
  return line || word || token.raw.length;
}

function isList(token: Token): token is Tokens.List {
  return token.type === "list";
}

/** Return the header of a table, without which its further rows are none; empty for any other block. */
export function headerOf(token: Token): string {
  return token.type === "table" ? (/^.{1,2000}\n.{1,2000}\n/.exec(token.raw)?.[0] ?? "") : "";
}

export function isFenced(token: Token): boolean {
  return token.type === "code" && !("codeBlockStyle" in token);
}
