import type { JsonValue } from "@tokenwire/client";
import { countText, readInput, readTable, type ResultTable } from "./tool-data.ts";

/** What a tool was called with: the query apart, the rest as JSON. */
export function ToolInput({ args }: { readonly args: JsonValue }) {
  const { sql, rest } = readInput(args);
  return (
    <>
      {sql === undefined ? null : <TextBlock title="SQL" text={sql} kind="sql" />}
      {rest === undefined || rest === null ? null : <JsonBlock title="Arguments" value={rest} />}
    </>
  );
}

/** What a tool gave back: a table when it is one, JSON otherwise. */
export function ToolOutput({ result, isError }: { readonly result: JsonValue; readonly isError: boolean }) {
  const table = isError ? undefined : readTable(result);
  if (table === undefined) return <JsonBlock title={isError ? "Error" : "Result"} value={result} />;
  return (
    <>
      <TableBlock table={table} />
      {table.rest === undefined ? null : <JsonBlock title="More" value={table.rest} />}
    </>
  );
}

function JsonBlock({ title, value }: { readonly title: string; readonly value: JsonValue }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return <TextBlock title={title} text={text} />;
}

interface TextBlockProps {
  readonly title: string;
  readonly text: string;
  readonly kind?: "sql";
}

function TextBlock({ title, text, kind }: TextBlockProps) {
  return (
    <div className="tw-tool-block">
      <p className="tw-tool-title">{title}</p>
      {/* A scrolling region must be reachable by keyboard (WCAG 2.1.1) */}
      <pre tabIndex={0} className={kind && `tw-${kind}`} data-testid={kind && `tool-${kind}`}>
        {text}
      </pre>
    </div>
  );
}

function TableBlock({ table }: { readonly table: ResultTable }) {
  const sideOf = (column: number) => (table.numeric[column] === true ? "tw-right" : undefined);
  return (
    <div className="tw-tool-block">
      <p className="tw-tool-title">Result: {countText(table)}</p>
      <div className="tw-table" tabIndex={0} role="group" aria-label="Result" data-testid="tool-table">
        <table>
          <thead>
            <tr>
              {table.columns.map((name, column) => (
                <th key={column} scope="col" className={sideOf(column)}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {table.rows.map((row, index) => (
              <tr key={index}>
                {row.map((text, column) => (
                  <td key={column} className={sideOf(column)}>
                    {text}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}
