import type { StreamState } from "@tokenwire/client";

const whole = new Intl.NumberFormat("en");
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** Return what the line under an answer says of its pace, measured in this page. */
export function footerFacts({ pace, outcome }: StreamState): readonly string[] {
  const usage = outcome?.kind === "done" ? outcome.usage : undefined;
  // The model's own count is better than the frames': a frame may hold a piece of a token.
  const tokens = usage?.outputTokens ?? pace.tokens;
  const { startedAtMs, firstTokenAtMs, lastTokenAtMs } = pace;
  if (firstTokenAtMs === undefined || lastTokenAtMs === undefined) return [];
  const facts = [
    `${whole.format(tokens)} ${tokens === 1 ? "token" : "tokens"}`,
    `first after ${duration(firstTokenAtMs - startedAtMs)}`,
  ];
  const seconds = (lastTokenAtMs - firstTokenAtMs) / 1000;
  // The first token begins the interval, so it is not counted in it.
  if (pace.tokens > 1 && seconds > 0) facts.push(`${rate((pace.tokens - 1) / seconds)} tokens/s`);
  return facts;
}

function duration(ms: number): string {
  return ms < 1000 ? `${whole.format(Math.round(ms))} ms` : `${fine.format(ms / 1000)} s`;
}

function rate(perSecond: number): string {
  return perSecond >= 100 ? whole.format(Math.round(perSecond)) : fine.format(perSecond);
}
