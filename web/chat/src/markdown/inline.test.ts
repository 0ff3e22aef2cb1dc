import { describe, expect, it } from "vitest";
import { parseInline } from "./inline.ts";
import { ANSWERS } from "./samples.ts";

/** The spans as one line: `*bold*`, `‹code›`, and nothing of the syntax. */
function seen(text: string, live = false): string {
  return parseInline(text, live)
    .filter(({ kind }) => kind !== "syntax")
    .map((span) =>
      (span.kind === "code" ? `‹${span.text}›` : span.text).replace(/^(.*)$/s, span.strong ? "[$1]" : "$1"),
    )
    .join("");
}

describe("spans", () => {
  it.each(ANSWERS)("joined, are the text, wherever it is cut: %#", (answer) => {
    for (let end = 0; end <= answer.length; end += 1) {
      const text = answer.slice(0, end);
      for (const live of [false, true]) {
        expect(
          parseInline(text, live)
            .map((span) => span.text)
            .join(""),
        ).toBe(text);
      }
    }
  });

  it.each([
    ["a **b c** d", "a [b c] d"],
    ["**a**: `b`", "[a]: ‹b›"],
    ["**a `b`**", "[a ][‹b›]"],
    ["`` a`b ``", "‹ a`b ›"],
    ["`**a**`", "‹**a**›"],
    ["R\\&D \\| \\*\\*x\\*\\* C:\\dir", "R&D | **x** C:\\dir"],
  ])("of %s are bold, code and escapes", (text, expected) => {
    expect(seen(text)).toBe(expected);
  });

  it.each(["2**3**4", "a ** b ** c", "**open", "`open", "a * b", "**a\nb**", "****", "\\"])(
    "of %s are plain text",
    (text) => {
      expect(seen(text)).toBe(text);
    },
  );
});

describe("while the text grows", () => {
  it.each([
    ["a **", "a "],
    ["a *", "a "],
    ["a **b", "a [b]"],
    ["a **b*", "a [b]"],
    ["a `", "a "],
    ["a `b c", "a ‹b c›"],
    ["a \\", "a "],
    ["**a\nb", "**a\nb"],
  ])("%s has its looks already", (text, expected) => {
    expect(seen(text, true)).toBe(expected);
  });

  it("no letter comes and goes", () => {
    const text = "Two **bold words** and `some code`, R\\&D.";
    let before = "";
    for (let end = 1; end <= text.length; end += 1) {
      const now = seen(text.slice(0, end), true).replace(/[[\]‹›]/g, "");
      expect(now.startsWith(before)).toBe(true);
      before = now;
    }
  });
});
