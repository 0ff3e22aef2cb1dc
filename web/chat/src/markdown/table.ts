/** One cell, with the syntax on both sides of its text. */
export interface Cell {
  readonly before: string;
  readonly text: string;
  readonly after: string;
}

export interface Table {
  readonly header: readonly Cell[];
  readonly rows: readonly (readonly Cell[])[];
  /** Columns of numbers, as the line under the header says. */
  readonly right: readonly boolean[];
}

const ROW = /^ {0,3}\|/;
const DELIMITER = /^ {0,3}\|[ :|-]*-[ :|-]*$/;
const BEGUN_DELIMITER = /^ {0,3}\|[ :|-]*$/;
// What follows an even number of backslashes is a pipe of its own.
const PIPE = /(?<!(?:^|[^\\])(?:\\\\)*\\)\|/g;

/** Return whether a line may be one of a table. Only lines that begin with a pipe are. */
export function isRow(line: string): boolean {
  return ROW.test(line);
}

/** Return whether a line is the one under a table's header; with `live` it may be begun only. */
export function isDelimiter(line: string, live = false): boolean {
  return (live ? BEGUN_DELIMITER : DELIMITER).test(line);
}

/** Return the table whose lines these are: header, delimiter, rows. */
export function parseTable(text: string): Table {
  const [header = "", delimiter = "", ...lines] = text.split(/(?<=\n)/);
  const rows: (readonly Cell[])[] = [];
  let blank = "";
  for (const line of lines) {
    if (isRow(line)) rows.push(parseRow(line));
    else blank += line;
  }
  const right = parseRow(delimiter).map((cell) => /^-+:$/.test(cell.text));
  const head = endWith(parseRow(header), delimiter + (rows.length === 0 ? blank : ""));
  const last = rows.pop();
  return { header: head, right, rows: last === undefined ? [] : [...rows, endWith(last, blank)] };
}

function endWith(cells: readonly Cell[], syntax: string): readonly Cell[] {
  return cells.map((cell, index) =>
    index === cells.length - 1 ? { ...cell, after: cell.after + syntax } : cell,
  );
}

function parseRow(line: string): readonly Cell[] {
  const pipes = Array.from(line.matchAll(PIPE), ({ index }) => index);
  const closed = pipes.length > 1 && line.slice((pipes.at(-1) ?? 0) + 1).trim() === "";
  const starts = closed ? pipes.slice(0, -1) : pipes;
  return starts.map((pipe, index) => {
    const piece = line.slice(pipe + 1, starts[index + 1] ?? (closed ? pipes.at(-1) : undefined));
    const text = piece.trim();
    const gap = text === "" ? piece.length : piece.indexOf(text);
    const closing = closed && index === starts.length - 1 ? line.slice(pipes.at(-1)) : "";
    return {
      before: (index === 0 ? line.slice(0, pipe) : "") + "|" + piece.slice(0, gap),
      text,
      after: piece.slice(gap + text.length) + closing,
    };
  });
}
