/** The references that models write; numeric ones are decoded by the lexer. */
const NAMED: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\u00a0",
  hellip: "…",
  ndash: "–",
  mdash: "—",
  rarr: "→",
  times: "×",
};

/** Return the text with the usual character references replaced. */
export function decodeEntities(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&([a-z]{2,6});/g, (reference, name: string) => NAMED[name] ?? reference);
}
