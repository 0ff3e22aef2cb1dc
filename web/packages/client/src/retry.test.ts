import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY, RetryClock, THREE_TRIES, type FailedAttempt } from "./retry.ts";

function clockOf(random: number, policy = DEFAULT_RETRY) {
  return new RetryClock(policy, () => random);
}

function at(nowMs: number, fields: Partial<FailedAttempt> = {}): FailedAttempt {
  return { nowMs, offline: false, ...fields };
}

/** Fail again and again, each attempt as soon as its pause is over; return the pauses. */
function pauses(clock: RetryClock, fields: Partial<FailedAttempt> = {}): number[] {
  const seen: number[] = [];
  let nowMs = 1_000;
  for (;;) {
    const pause = clock.next(at(nowMs, fields));
    if (pause === undefined || seen.length === 200) return seen;
    seen.push(pause);
    nowMs += pause;
  }
}

describe("the budget", () => {
  it("is a minute of trouble, its last pause cut to what is left", () => {
    const seen = pauses(clockOf(0.999));
    expect(seen.reduce((sum, pause) => sum + pause, 0)).toBeCloseTo(60_000);
    expect(seen.length).toBeGreaterThan(8);
  });

  it("spreads each pause over a range that doubles up to eight seconds", () => {
    expect(pauses(clockOf(0.5)).slice(0, 7)).toEqual([250, 500, 1_000, 2_000, 4_000, 4_000, 4_000]);
    expect(clockOf(0).next(at(0))).toBe(0);
  });

  it("begins anew when the connection has brought something", () => {
    const clock = clockOf(0.999);
    pauses(clock);
    clock.reset();
    expect(clock.attempt).toBe(0);
    expect(pauses(clock).length).toBeGreaterThan(8);
  });

  it("does not count the time without a network", () => {
    const clock = clockOf(0.999);
    expect(pauses(clock, { offline: true })).toHaveLength(200);
    expect(clock.next(at(10_000_000))).toBeDefined();
    expect(clock.next(at(10_000_001))).toBeDefined();
  });

  it("counts a computer's sleep as one attempt", () => {
    const clock = clockOf(0);
    clock.next(at(0));
    expect(clock.next(at(8 * 3_600_000))).toBeDefined();
  });
});

describe("what the server says", () => {
  it("retry: is the first pause as it is, and the shortest later one", () => {
    const clock = clockOf(0.1);
    expect(clock.next(at(0, { retryMs: 1_234 }))).toBe(1_234);
    expect(clock.next(at(2_000, { retryMs: 1_234 }))).toBe(1_234);
  });

  it("Retry-After is waited for, with some spread", () => {
    expect(clockOf(0).next(at(0, { retryAfterMs: 20_000 }))).toBe(20_000);
    expect(clockOf(1).next(at(0, { retryAfterMs: 20_000 }))).toBe(25_000);
  });

  it("a Retry-After beyond the budget is not waited for", () => {
    expect(clockOf(0).next(at(0, { retryAfterMs: 120_000 }))).toBeUndefined();
  });
});

it("three tries are after 1, 2 and 4 seconds, whatever the time", () => {
  expect(pauses(clockOf(0.5, { ...DEFAULT_RETRY, ...THREE_TRIES }))).toEqual([1_000, 2_000, 4_000]);
});
