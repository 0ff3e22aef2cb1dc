import { describe, expect, it } from "vitest";
import { createPacer, type PacingClock, type PacingOptions, type PacingStrategy } from "./pacing.ts";

/** Time and frames that the test moves. */
class HandClock implements PacingClock {
  nowMs = 0;
  #orders: { readonly atMs: number; readonly callback: () => void }[] = [];

  readonly after = (ms: number, callback: () => void) => this.#order(this.nowMs + ms, callback);
  readonly onFrame = (callback: () => void) => this.#order((Math.floor(this.nowMs / 16) + 1) * 16, callback);

  get held(): number {
    return this.#orders.length;
  }

  moveTo(nowMs: number): void {
    for (;;) {
      const next = this.#orders.toSorted((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined || next.atMs > nowMs) break;
      this.nowMs = next.atMs;
      this.#orders = this.#orders.filter((order) => order !== next);
      next.callback();
    }
    this.nowMs = nowMs;
  }

  #order(atMs: number, callback: () => void): () => void {
    const order = { atMs, callback };
    this.#orders.push(order);
    return () => {
      this.#orders = this.#orders.filter((other) => other !== order);
    };
  }
}

function stage(options: PacingStrategy | PacingOptions) {
  const clock = new HandClock();
  const shown: number[] = [];
  const pacer = createPacer(options, () => shown.push(clock.nowMs), clock);
  return { clock, shown, pacer };
}

describe("immediate", () => {
  it("shows each event as it comes", () => {
    const { shown, pacer } = stage("immediate");
    pacer.push(1);
    pacer.push(1);
    expect(shown).toHaveLength(2);
  });
});

describe("buffered", () => {
  it("shows five tokens together, in the next frame", () => {
    const { clock, shown, pacer } = stage("buffered");
    for (let token = 0; token < 5; token += 1) pacer.push(1);
    expect(shown).toEqual([]);
    clock.moveTo(16);
    expect(shown).toEqual([16]);
    clock.moveTo(1_000);
    expect(shown).toEqual([16]);
  });

  it("shows fewer when the first of them has waited for 50 ms", () => {
    const { clock, shown, pacer } = stage("buffered");
    pacer.push(1);
    clock.moveTo(40);
    pacer.push(1);
    clock.moveTo(49);
    expect(shown).toEqual([]);
    clock.moveTo(100);
    expect(shown).toEqual([64]);
  });

  it("never shows more often than there are frames", () => {
    const { clock, shown, pacer } = stage("buffered");
    for (let ms = 0; ms < 1_000; ms += 1) {
      pacer.push(3);
      clock.moveTo(ms);
    }
    expect(shown.length).toBeGreaterThan(50);
    expect(shown.length).toBeLessThanOrEqual(63);
    expect(shown.every((ms) => ms % 16 === 0)).toBe(true);
  });

  it("takes other measures", () => {
    const { clock, shown, pacer } = stage({ strategy: "buffered", tokens: 20, delayMs: 500 });
    for (let token = 0; token < 19; token += 1) pacer.push(1);
    clock.moveTo(499);
    expect(shown).toEqual([]);
    pacer.push(1);
    clock.moveTo(512);
    expect(shown).toEqual([512]);
  });
});

describe("debounced", () => {
  it("waits for a pause of the stream", () => {
    const { clock, shown, pacer } = stage("debounced");
    for (let ms = 0; ms < 1_000; ms += 100) {
      clock.moveTo(ms);
      pacer.push(1);
    }
    expect(shown).toEqual([]);
    clock.moveTo(1_200);
    expect(shown).toEqual([1_056]);
  });

  it("does not wait for ever when the stream does not pause", () => {
    const { clock, shown, pacer } = stage("debounced");
    for (let ms = 0; ms < 3_000; ms += 5) {
      clock.moveTo(ms);
      pacer.push(1);
    }
    expect(shown).toHaveLength(2);
  });
});

describe.each(["immediate", "buffered", "debounced"] as const)("%s", (strategy) => {
  it("shows what waits when it is told to, at the end or on Stop, and only once", () => {
    const { clock, shown, pacer } = stage(strategy);
    pacer.push(1);
    pacer.flush();
    const count = shown.length;
    expect(clock.held).toBe(0);
    clock.moveTo(5_000);
    expect(shown).toHaveLength(count);
  });

  it("holds nothing while nothing waits, and after it was closed", () => {
    const { clock, shown, pacer } = stage(strategy);
    expect(clock.held).toBe(0);
    pacer.push(1);
    pacer.push(1_000);
    pacer.close();
    expect(clock.held).toBe(0);
    const count = shown.length;
    pacer.push(1_000);
    pacer.flush();
    expect(shown).toHaveLength(count);
  });
});
