const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** Return a time as people read it: 0.4 ms, 16.7 ms, 812 ms, 3.2 s. */
export function formatMs(ms: number | undefined): string {
  if (ms === undefined) return "–";
  if (ms >= 1_000) return `${fine.format(ms / 1_000)} s`;
  return Math.abs(ms) < 0.05
    ? "0 ms"
    : `${ms < 100 ? fine.format(Math.round(ms * 10) / 10) : whole.format(ms)} ms`;
}

/** Return a rate as people read it: 8.2, 164. */
export function formatRate(perSecond: number | undefined): string {
  if (perSecond === undefined) return "–";
  return perSecond >= 100 ? whole.format(perSecond) : fine.format(perSecond);
}
