import { isDelimiter, isRow } from "./table.ts";

export type BlockKind = "paragraph" | "heading" | "rule" | "list" | "fence" | "table" | "pending";

/** A piece of the answer that is drawn as one thing. The blocks' texts, joined, are the answer. */
export interface Block {
  readonly kind: BlockKind;
  readonly text: string;
}

const FENCE = /^ *(`{3,}|~{3,})[^`]*$/;
const HEADING = /^ {0,3}#{1,6}(?= |$)/;
const RULE = /^ {0,3}([-*_])( *\1){2,}$/;
const ITEM = /^ *(?:[-*+]|(\d{1,9})[.)])(?= |$)/;
// The beginning of a mark that the next token completes, or not.
const HALF_MARK = /^ *(?:[-*_+]{1,2}|#{1,6}|`{1,2}|~{1,2})$/;
const HALF_NUMBER = /^ *\d{1,9}[.)]?$/;

/**
 * Return the blocks of a text.
 *
 * Only what models write is known: headings, lists, fences, rules, and tables
 * whose lines begin with a pipe. Everything else is a paragraph that keeps
 * its line breaks.
 *
 * With `live`, more text may follow: a table is one from its first line on, a
 * fence from its opening on, and half a mark at the end is `pending`.
 */
export function splitBlocks(text: string, live = false): readonly Block[] {
  const blocks = new Blocks();
  const lines = text.split(/(?<=\n)/);
  for (const [index, line] of lines.entries()) {
    const growing = live && index === lines.length - 1 && !line.endsWith("\n");
    blocks.feed(line.trimEnd(), line, { next: lines[index + 1]?.trimEnd(), growing, live });
  }
  return blocks.all;
}

interface Surroundings {
  readonly next: string | undefined;
  /** The line may still grow. */
  readonly growing: boolean;
  readonly live: boolean;
}

class Blocks {
  readonly all: Block[] = [];
  #open: BlockKind | undefined;
  /** The fence that is open. */
  #fence = "";
  #before = "";
  /** A blank line came after the open block. */
  #ended = false;

  feed(line: string, raw: string, around: Surroundings): void {
    if (raw === "") return;
    if (this.#fence !== "") this.#feedFence(line, raw);
    else if (line === "" && this.#open !== undefined) this.#feedBlank(raw);
    else this.#feedLine(line, raw, around);
    this.#before = line;
  }

  #feedFence(line: string, raw: string): void {
    this.#append(raw);
    if (closesFence(line, this.#fence)) this.#fence = "";
    this.#ended = this.#fence === "";
  }

  #feedBlank(raw: string): void {
    this.#append(raw);
    this.#ended = true;
  }

  #feedLine(line: string, raw: string, around: Surroundings): void {
    const kind = this.#kindOf(line, around);
    if (kind === this.#open && this.#goesOn(kind)) this.#append(raw);
    else this.all.push({ kind, text: raw });
    this.#open = kind;
    this.#ended = false;
    this.#fence = kind === "fence" ? (FENCE.exec(line)?.[1] ?? "") : "";
  }

  #kindOf(line: string, { next, growing, live }: Surroundings): BlockKind {
    if (growing && (HALF_MARK.test(line) || (this.#open === "list" && HALF_NUMBER.test(line)))) {
      return "pending";
    }
    if (FENCE.test(line)) return "fence";
    if (HEADING.test(line)) return "heading";
    if (RULE.test(line)) return "rule";
    if (this.#isItem(line) || this.#isInItem(line)) return "list";
    // A second line of pipes shows that the first was no header, and neither is this one.
    const hopeful = live && !isRow(this.#before);
    if (isRow(line) && (this.#inside("table") || beginsTable(next, hopeful))) return "table";
    return "paragraph";
  }

  /** Within a paragraph only the number 1 begins a list: "in\n1986. Then" does not. */
  #isItem(line: string): boolean {
    const item = ITEM.exec(line);
    return item !== null && (item[1] === undefined || item[1] === "1" || !this.#inside("paragraph"));
  }

  #isInItem(line: string): boolean {
    return this.#open === "list" && !isRow(line) && (!this.#ended || /^ {2}/.test(line));
  }

  #inside(kind: BlockKind): boolean {
    return this.#open === kind && !this.#ended;
  }

  /** Return whether one more line of the open block's kind belongs to it. */
  #goesOn(kind: BlockKind): boolean {
    return kind === "list" || ((kind === "paragraph" || kind === "table") && !this.#ended);
  }

  #append(raw: string): void {
    const last = this.all.at(-1);
    if (last !== undefined) this.all[this.all.length - 1] = { ...last, text: last.text + raw };
  }
}

function beginsTable(next: string | undefined, hopeful: boolean): boolean {
  return next === undefined ? hopeful : isDelimiter(next, hopeful);
}

function closesFence(line: string, fence: string): boolean {
  const mark = line.trimStart();
  return mark.length >= fence.length && mark === (fence[0] ?? "").repeat(mark.length);
}
