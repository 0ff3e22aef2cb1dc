/** A block of code: the three parts, joined, are its lines. */
export interface Fence {
  readonly opening: string;
  readonly code: string;
  readonly closing: string;
  /** What the fence says that it holds: `sql`; empty when it says nothing. */
  readonly language: string;
}

const OPENING = /^ *(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n]*\n?/;

/** Return the code within a fence. One that is not closed goes on to the end. */
export function parseFence(text: string, live = false): Fence {
  const [opening = "", fence = "", language = ""] = OPENING.exec(text) ?? [];
  const rest = text.slice(opening.length);
  const closing = closingOf(rest, fence, live);
  return { opening, language, closing, code: rest.slice(0, rest.length - closing.length) };
}

function closingOf(rest: string, fence: string, live: boolean): string {
  const mark = fence[0] ?? "`";
  const whole = new RegExp(`(?:^|\\n) *${mark}{${fence.length},}[ \\t\\r]*\\n?\\s*$`).exec(rest)?.[0];
  if (whole !== undefined || !live) return whole ?? "";
  // A line of marks alone may be the end on its way.
  return new RegExp(`(?:^|\\n) *${mark}*$`).exec(rest)?.[0] ?? "";
}
