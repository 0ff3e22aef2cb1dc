import { InlineText, Syntax } from "./inline-text.tsx";
import { type Cell, parseTable } from "./table.ts";

interface TableViewProps {
  readonly text: string;
  readonly live: boolean;
}

export function TableView({ text, live }: TableViewProps) {
  const { header, rows, right } = parseTable(text);
  const last = rows.length - 1;
  return (
    // A scrolling region must be reachable by keyboard (WCAG 2.1.1)
    <div className="table-box" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {header.map((cell, column) => (
              <th key={column} scope="col" className={sideOf(right[column])}>
                <CellText cell={cell} live={live && last < 0 && column === header.length - 1} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells, row) => (
            <tr key={row}>
              {cells.map((cell, column) => (
                <td key={column} className={sideOf(right[column])}>
                  <CellText cell={cell} live={live && row === last && column === cells.length - 1} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function sideOf(right: boolean | undefined): string | undefined {
  return right === true ? "right" : undefined;
}

function CellText({ cell, live }: { readonly cell: Cell; readonly live: boolean }) {
  return (
    <>
      <Syntax text={cell.before} />
      <InlineText text={cell.text} live={live} />
      <Syntax text={cell.after} />
    </>
  );
}
