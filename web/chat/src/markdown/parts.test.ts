import { describe, expect, it } from "vitest";
import { parseFence } from "./fence.ts";
import { parseList } from "./list.ts";
import { parseTable } from "./table.ts";

describe("a table", () => {
  it("has cells, and columns of numbers", () => {
    const { header, rows, right } = parseTable("| a | b |\n| --- | ---: |\n| x \\| y | 1 |\n| `z` |\n");
    expect(header.map(({ text }) => text)).toEqual(["a", "b"]);
    expect(rows.map((row) => row.map(({ text }) => text))).toEqual([["x \\| y", "1"], ["`z`"]]);
    expect(right).toEqual([false, true]);
  });

  it("may be half there", () => {
    expect(parseTable("| a | b").header.map(({ text }) => text)).toEqual(["a", "b"]);
    expect(parseTable("| a |\n|-").rows).toEqual([]);
    expect(parseTable("| a |\n|---|\n|").rows).toHaveLength(1);
  });
});

describe("a list", () => {
  it("has items of a depth, each with its lines", () => {
    const items = parseList("- a\n    - b\n      more\n  - c\n- d\n");
    expect(items.map(({ depth, text }) => [depth, text])).toEqual([
      [0, "a"],
      [1, "b\n      more"],
      [1, "c"],
      [0, "d"],
    ]);
  });

  it("keeps the numbers that it came with", () => {
    expect(parseList("3. c\n7) g").map(({ marker }) => marker)).toEqual(["3.", "7)"]);
  });
});

describe("a fence", () => {
  it("holds code of a language", () => {
    expect(parseFence("```sql\nselect 1\n```\n")).toEqual({
      opening: "```sql\n",
      language: "sql",
      code: "select 1",
      closing: "\n```\n",
    });
  });

  it("that is not closed goes on to the end", () => {
    expect(parseFence("```\na\n``")).toMatchObject({ code: "a\n``", closing: "" });
  });

  it("hides the end that is on its way", () => {
    expect(parseFence("```\na\n``", true)).toMatchObject({ code: "a", closing: "\n``" });
    expect(parseFence("```", true)).toMatchObject({ code: "", closing: "" });
  });
});
