import { describe, expect, it } from "vitest";
import { countText, readInput, readTable } from "./tool-data.ts";

describe("arguments", () => {
  it("with a query have it apart", () => {
    expect(readInput({ sql: "select 1", day: "x" })).toEqual({ sql: "select 1", rest: { day: "x" } });
    expect(readInput({ sql: "select 1" })).toEqual({ sql: "select 1", rest: undefined });
  });

  it.each([[{ sql: 1 }], [{ query: "select" }], [["sql"]], ["select 1"], [null]])(
    "without one are as they came: %j",
    (args) => {
      expect(readInput(args)).toEqual({ sql: undefined, rest: args });
    },
  );
});

describe("a result", () => {
  it("of columns and rows is a table of texts", () => {
    const rows = [["a", 1.5, "2.50", "007", null], ["b", null, "-1", "x", { c: [true] }], ["short"]];
    expect(readTable({ columns: ["n", "x", "y", "code", "any"], rows })).toEqual({
      columns: ["n", "x", "y", "code", "any"],
      rows: [
        ["a", "1.5", "2.50", "007", ""],
        ["b", "", "-1", "x", '{"c":[true]}'],
        ["short", "", "", "", ""],
      ],
      numeric: [false, true, true, false, false],
      rowCount: 3,
      rest: undefined,
    });
  });

  it("shows the first 20 rows, says how many there are, and keeps what else it says", () => {
    const rows = Array.from({ length: 30 }, (_, index) => [index]);
    const table = readTable({ columns: ["n"], rows, rowCount: 1204, took: "3 ms" });
    expect(table?.rows).toHaveLength(20);
    expect(table).toMatchObject({ rowCount: 1204, rest: { took: "3 ms" } });
  });

  it.each([
    [null],
    ["x"],
    [[[1]]],
    [{ columns: ["a"] }],
    [{ columns: [1], rows: [] }],
    [{ columns: ["a"], rows: [1] }],
  ])("of another shape is none: %j", (result) => {
    expect(readTable(result)).toBeUndefined();
  });
});

it("the count says whether these are all", () => {
  const rows = [["a"]];
  expect([0, 1, 1204].map((rowCount) => countText({ rows: rowCount === 0 ? [] : rows, rowCount }))).toEqual([
    "0 rows",
    "1 row",
    "First 1 of 1,204 rows",
  ]);
});
