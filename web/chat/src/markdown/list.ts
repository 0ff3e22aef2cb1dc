/** One item: indent, marker, space and text, joined with the space behind, are its lines. */
export interface Item {
  /** How many items this one lies within. */
  readonly depth: number;
  readonly indent: string;
  readonly marker: string;
  readonly space: string;
  readonly text: string;
  readonly tail: string;
}

const ITEM = /^( *)([-*+]|\d{1,9}[.)])([ \t]+|(?=\r?\n|$))/;

/** Return the items of a list's lines. A line that begins no item goes on with the one before. */
export function parseList(text: string): readonly Item[] {
  const items: Item[] = [];
  const indents: number[] = [];
  for (const lines of splitItems(text)) {
    const [head = "", indent = "", marker = "", space = ""] = ITEM.exec(lines) ?? [];
    while ((indents.at(-1) ?? -1) >= indent.length) indents.pop();
    const body = lines.slice(head.length);
    const said = body.trimEnd();
    const tail = body.slice(said.length);
    items.push({ depth: indents.length, indent, marker, space, text: said, tail });
    indents.push(indent.length);
  }
  return items;
}

function splitItems(text: string): readonly string[] {
  const items: string[] = [];
  for (const line of text.split(/(?<=\n)/)) {
    if (ITEM.test(line) || items.length === 0) items.push(line);
    else items.push((items.pop() ?? "") + line);
  }
  return items;
}

/** Return whether the list counts its items. */
export function isOrdered(items: readonly Item[]): boolean {
  return /^\d/.test(items[0]?.marker ?? "");
}
