import type { Tokens } from "marked";
import { memo } from "react";
import { InlineText } from "./inline-text.tsx";

/** A table that scrolls by itself where it is wider than the answer. */
export function TableView({ table }: { readonly table: Tokens.Table }) {
  return (
    // A scrolling region must be reachable by keyboard (WCAG 2.1.1)
    <div className="tw-table" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {table.header.map((cell, column) => (
              <th key={column} scope="col" className={sideOf(cell)}>
                <InlineText text={cell.text} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {table.rows.map((cells, row) => (
            <Row key={row} cells={cells} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RowProps {
  readonly cells: readonly Tokens.TableCell[];
}

const Row = memo(function Row({ cells }: RowProps) {
  return (
    <tr>
      {cells.map((cell, column) => (
        <td key={column} className={sideOf(cell)}>
          <InlineText text={cell.text} />
        </td>
      ))}
    </tr>
  );
}, isSameRow);

function isSameRow({ cells: before }: RowProps, { cells: after }: RowProps): boolean {
  return (
    before.length === after.length &&
    after.every(({ text, align }, column) => text === before[column]?.text && align === before[column].align)
  );
}

function sideOf({ align }: Tokens.TableCell): string | undefined {
  return align === "right" || align === "center" ? `tw-${align}` : undefined;
}
