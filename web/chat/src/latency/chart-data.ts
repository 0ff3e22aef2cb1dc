import { LATENCY_HOPS, type TokenRow } from "@tokenwire/client/timing";

/** Columns for the chart: seconds after the request, and for each hop the gaps in milliseconds that it is to blame for. */
export type ChartData = [number[], ...(number | null)[][]];

/** The least gap that is drawn, in milliseconds: the scale is logarithmic, and what came together has no gap. */
export const LEAST_GAP_MS = 0.1;

/** Return the rows as columns. A row without a gap is no point. */
export function chartData(rows: readonly TokenRow[]): ChartData {
  const drawn = rows.filter(({ gapMs }) => gapMs !== undefined);
  const columns = LATENCY_HOPS.map((hop) =>
    drawn.map((row) => (row.hop === hop ? Math.max(LEAST_GAP_MS, row.gapMs ?? 0) : null)),
  );
  return [drawn.map(({ atMs }) => atMs / 1_000), ...columns];
}
