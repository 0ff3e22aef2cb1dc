import type { Token, Tokens } from "marked";
import type { Block } from "./growing-blocks.ts";

/**
 * Return the level of each block that is a heading.
 *
 * Models skip levels and begin anywhere; an outline for screen readers must not. Each level is at most one below
 * the heading before it, and depends on the text before it alone.
 */
export function headingLevels(blocks: readonly Block[], top: number): ReadonlyMap<number, number> {
  const levels = new Map<number, number>();
  const open: number[] = [];
  for (const { offset, token } of blocks) {
    if (!isHeading(token)) continue;
    while ((open.at(-1) ?? 0) >= token.depth) open.pop();
    open.push(token.depth);
    levels.set(offset, Math.min(top + open.length - 1, 6));
  }
  return levels;
}

function isHeading(token: Token): token is Tokens.Heading {
  return token.type === "heading";
}
