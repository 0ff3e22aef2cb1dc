import type { JsonValue } from "@tokenwire/client";

type JsonObject = Readonly<Record<string, JsonValue>>;

export interface ToolInput {
  /** The query, when the tool was called with one. */
  readonly sql: string | undefined;
  /** The other arguments; undefined when there are none. */
  readonly rest: JsonValue | undefined;
}

/** Return a tool's arguments with the query apart. */
export function readInput(args: JsonValue): ToolInput {
  if (!isObject(args) || typeof args.sql !== "string") return { sql: undefined, rest: args };
  return { sql: args.sql, rest: without(args, ["sql"]) };
}

export interface ResultTable {
  readonly columns: readonly string[];
  /** The first rows, at most `SHOWN_ROWS`. */
  readonly rows: readonly (readonly string[])[];
  /** Of each column: whether it holds numbers only. */
  readonly numeric: readonly boolean[];
  /** All rows that the tool found. */
  readonly rowCount: number;
  /** What the result says besides; undefined when it is nothing. */
  readonly rest: JsonValue | undefined;
}

export const SHOWN_ROWS = 20;

/** Return the table that a tool's result is, or undefined when it is none. */
export function readTable(result: JsonValue): ResultTable | undefined {
  if (!isObject(result)) return undefined;
  const { columns, rows, rowCount } = result;
  if (!isList(columns) || !columns.every((column) => typeof column === "string")) return undefined;
  if (!isList(rows) || !rows.every(isList)) return undefined;
  return {
    columns,
    rows: rows.slice(0, SHOWN_ROWS).map((row) => columns.map((_, index) => cellText(row[index] ?? null))),
    numeric: columns.map((_, index) => isNumeric(rows.map((row) => row[index] ?? null))),
    rowCount: typeof rowCount === "number" ? rowCount : rows.length,
    rest: without(result, ["columns", "rows", "rowCount"]),
  };
}

/** Return how much of a table is shown: "First 20 of 1,204 rows". */
export function countText({ rows, rowCount }: Pick<ResultTable, "rows" | "rowCount">): string {
  const all = new Intl.NumberFormat("en").format(rowCount);
  if (rowCount > rows.length) return `First ${rows.length} of ${all} rows`;
  return rowCount === 1 ? "1 row" : `${all} rows`;
}

function cellText(value: JsonValue): string {
  if (value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

// Exact decimals come as texts. A leading zero is a code's, not a number's.
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?$/;

function isNumeric(values: readonly JsonValue[]): boolean {
  const given = values.filter((value) => value !== null);
  const numbers = given.filter(
    (value) => typeof value === "number" || (typeof value === "string" && NUMBER.test(value)),
  );
  return given.length > 0 && numbers.length === given.length;
}

function isObject(value: JsonValue): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isList(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

function without(object: JsonObject, names: readonly string[]): JsonValue | undefined {
  const entries = Object.entries(object).filter(([name]) => !names.includes(name));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

// CSS cuts the line at the card's edge; this only keeps a book out of the page's tree.
const BRIEF_LENGTH = 160;

/** Return a call's arguments in a line: first what tells calls of the same query apart. */
export function briefOf(args: JsonValue): string {
  const { sql, rest } = readInput(args);
  const values = rest === undefined || rest === null ? [] : [valuesText(rest)];
  const query = sql === undefined ? [] : [sql.replace(/\s+/g, " ").trim()];
  return [...values, ...query].join(" · ").slice(0, BRIEF_LENGTH);
}

function valuesText(value: JsonValue): string {
  if (!isObject(value)) return cellText(value);
  const entries = Object.entries(value);
  // A lone wrapper, as `parameters`, says nothing.
  const [only] = entries;
  if (entries.length === 1 && only !== undefined && isObject(only[1])) return valuesText(only[1]);
  return entries.map(([name, inner]) => `${name}: ${cellText(inner)}`).join(", ");
}
