/** The hops that a page can tell apart. It learns of a token's `write` only together with its own part: `page`. */
export const LATENCY_HOPS = ["model", "log", "send", "link", "page"] as const;
export type LatencyHop = (typeof LATENCY_HOPS)[number];

/** When a token left each hop, in their order, in Unix milliseconds by the clocks of each place. */
export type Stamps = readonly [number, number, number, number, number];

/** Return how long a token took from each stage to the next: all hops but `model`. */
export function hopTimes(stamps: Stamps): readonly number[] {
  return stamps.slice(1).map((stamp, index) => stamp - (stamps[index] ?? stamp));
}

/** Return the lesser of both, hop by hop. */
export function lesser(times: readonly number[], others: readonly number[]): readonly number[] {
  return times.map((time, index) => Math.min(time, others[index] ?? time));
}

/**
 * Return the hop that most of the gap between two tokens is due to: the edge's own rule for its stalls.
 *
 * From stage to stage it is known better when the gap can end at the earliest, with what the hops that are left take
 * where nothing waits. To blame is the hop that has put this off most. So what queues behind a stall is not blamed,
 * and clocks that differ cancel out.
 *
 * @param least - What each hop but `model` took at least, so far.
 */
export function blame(stamps: Stamps, before: Stamps, least: readonly number[]): LatencyHop {
  const usual = lesser(hopTimes(before), least);
  let left = usual.reduce((sum, time) => sum + time, 0);
  let reached = before[4];
  let worst: { readonly hop: LatencyHop; readonly ms: number } | undefined;
  for (const [index, hop] of LATENCY_HOPS.entries()) {
    const earliest = Math.max(reached, (stamps[index] ?? 0) + left);
    if (worst === undefined || earliest - reached > worst.ms) worst = { hop, ms: earliest - reached };
    reached = earliest;
    left -= usual[index] ?? 0;
  }
  return worst?.hop ?? "model";
}
