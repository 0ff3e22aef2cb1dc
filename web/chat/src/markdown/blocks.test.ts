import { describe, expect, it } from "vitest";
import { splitBlocks } from "./blocks.ts";
import { ANSWERS } from "./samples.ts";

const kinds = (text: string, live = false) => splitBlocks(text, live).map(({ kind }) => kind);
const texts = (text: string, live = false) => splitBlocks(text, live).map((block) => block.text);

describe("blocks", () => {
  it.each(ANSWERS)("joined, are the text, wherever it is cut: %#", (answer) => {
    for (let end = 0; end <= answer.length; end += 1) {
      const text = answer.slice(0, end);
      expect(texts(text).join("")).toBe(text);
      expect(texts(text, true).join("")).toBe(text);
    }
  });

  it.each(ANSWERS)("that are finished stay as they are while the text grows: %#", (answer) => {
    for (let end = 1; end < answer.length; end += 1) {
      const before = splitBlocks(answer.slice(0, end), true).slice(0, -1);
      const after = splitBlocks(answer.slice(0, end + 1), true);
      expect(after.slice(0, before.length).map(({ kind }) => kind)).toEqual(before.map(({ kind }) => kind));
    }
  });

  it("are headings, lists, tables, fences, rules and paragraphs", () => {
    const text = "# A\nb\n- c\n  d\n\n- e\n\n| f |\n|---|\n| g |\n\n---\n```js\n# h\n```\ni\nj\n\nk\n";
    expect(kinds(text)).toEqual([
      "heading",
      "paragraph",
      "list",
      "table",
      "rule",
      "fence",
      "paragraph",
      "paragraph",
    ]);
  });

  it("take only what models mean as such", () => {
    expect(kinds("#5 of 7\n-5 degrees\n|x| is positive\n1986. What a year")).toEqual(["paragraph"]);
    expect(kinds("It was in\n1986. Then")).toEqual(["paragraph"]);
    expect(kinds("| a | b |\nno table")).toEqual(["paragraph"]);
  });

  it("keep a fence to its end, whatever stands in it", () => {
    expect(kinds("~~~\n- a\n```\n\n| b |\n~~~\nc")).toEqual(["fence", "paragraph"]);
    expect(kinds("````\n```\n````\n")).toEqual(["fence"]);
    expect(kinds("```\nnever closed\n\n# x")).toEqual(["fence"]);
  });

  it("end a list at text that is not indented behind a blank line", () => {
    expect(texts("1. a\nlazy\n\n   more\n\nend")).toEqual(["1. a\nlazy\n\n   more\n\n", "end"]);
  });
});

describe("while the text grows", () => {
  it("a table is one from its first line on", () => {
    const table = "| a | b |\n| --- | ---: |\n| 1 | 2 |";
    for (let end = 1; end <= table.length; end += 1)
      expect(kinds(table.slice(0, end), true)).toEqual(["table"]);
    expect(kinds("| a | b |\n| c |\n| d", true)).toEqual(["paragraph"]);
  });

  it("half a mark waits, and is text when nothing follows", () => {
    for (const mark of ["-", "*", "**", "#", "##", "``", "--"]) {
      expect(kinds(`a\n${mark}`, true)).toEqual(["paragraph", "pending"]);
    }
    expect(kinds("1. a\n2", true)).toEqual(["list", "pending"]);
    expect(kinds("42", true)).toEqual(["paragraph"]);
    expect(kinds("a\n**")).toEqual(["paragraph"]);
  });
});
