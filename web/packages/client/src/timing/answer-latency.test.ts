import { describe, expect, it } from "vitest";
import type { Signal } from "../stream-state.ts";
import { AnswerLatency, type AnswerLatencyOptions } from "./answer-latency.ts";

const STARTED = 1_000;

/** An answer whose core and edge have the page's own clock, unless a test says otherwise. */
function stage(options: Partial<AnswerLatencyOptions> = {}, late = false) {
  const latency = new AnswerLatency({ startedAtMs: STARTED, originMs: 0, ...options });
  let sequence = 0;
  const token = (model: number, late: Partial<Record<"log" | "send" | "link" | "page", number>> = {}) => {
    const logged = model + 0.1 + (late.log ?? 0);
    const send = logged + 0.1 + (late.send ?? 0);
    const recv = send + 0.5 + (late.link ?? 0);
    const atMs = recv + 1 + (late.page ?? 0);
    say("text_delta", { content: "x", tokens: 1, timing: { model, logged, send, recv } }, atMs);
  };
  const say = (type: string, fields: object, atMs = 0) => {
    sequence += 1;
    const event = { type, timestamp: 0, ...fields } as unknown as Extract<Signal, { kind: "event" }>["event"];
    const cursor = { id: `r.1.${sequence}`, runId: "r", epoch: 1, sequence };
    latency.take({ kind: "event", event, atMs, cursor });
  };
  const open = () => latency.take({ kind: "opened", runId: "r", traceId: undefined });
  const caughtUp = () => latency.take({ kind: "control", frame: { control: "caught_up", cursor: "r.1.1" } });
  if (!late && options.joined !== true) open();
  return { latency, token, say, open, caughtUp };
}

describe("an answer that comes evenly", () => {
  it("has a time to the first token, a rate and gaps, and no stall", () => {
    const { latency, token } = stage();
    for (let count = 0; count < 101; count += 1) token(STARTED + 300 + count * 20);
    const { gap, tokensPerSecond, firstTokenMs, stalls, tokens, hops } = latency.summary();
    expect(firstTokenMs).toBeCloseTo(301.7);
    expect(tokensPerSecond).toBeCloseTo(50);
    expect(gap?.p50).toBeCloseTo(20);
    expect([tokens, stalls.length]).toEqual([101, 0]);
    expect(hops.link?.p99).toBeCloseTo(0.5);
  });

  it("has no time to the first token when it was watched only after that", () => {
    const { latency, token } = stage({}, true);
    for (let count = 0; count < 3; count += 1) token(STARTED + 300 + count * 20);
    expect(latency.summary()).toMatchObject({ tokens: 3, firstTokenMs: undefined });
    expect(latency.summary().tokensPerSecond).toBeCloseTo(50);
  });

  it("is nothing before its first token", () => {
    const summary = stage().latency.summary();
    expect(summary).toMatchObject({ tokens: 0, firstTokenMs: undefined, tokensPerSecond: undefined });
    expect(summary.gap).toBeUndefined();
  });
});

describe("a token that comes late", () => {
  it.each(["log", "send", "link", "page"] as const)("is the hop's in which it waited: %s", (hop) => {
    const { latency, token } = stage();
    for (let count = 0; count < 10; count += 1) token(STARTED + count * 20);
    token(STARTED + 200, { [hop]: 800 });
    expect(latency.summary().stalls).toMatchObject([{ sequence: 11, hop }]);
    expect(latency.summary().stalls[0]?.gapMs).toBeCloseTo(820);
    expect(latency.rows.at(-1)).toMatchObject({ sequence: 11, hop });
  });

  it("is the model's when that was slow", () => {
    const { latency, token } = stage();
    for (let count = 0; count < 10; count += 1) token(STARTED + count * 20);
    token(STARTED + 1_180);
    expect(latency.summary().stalls).toMatchObject([{ hop: "model" }]);
  });

  it("is not blamed on those that were queued behind it", () => {
    const { latency, token } = stage();
    for (let count = 0; count < 10; count += 1) token(STARTED + count * 20);
    token(STARTED + 200, { link: 800 });
    token(STARTED + 220, { link: 780 });
    token(STARTED + 240, { link: 760 });
    expect(latency.summary().stalls).toHaveLength(1);
    expect(latency.rows.at(-1)?.gapMs).toBeCloseTo(0);
  });

  it("is found though the page's clock is an hour off, and the hop counts from its fastest token on", () => {
    const hour = 3_600_000;
    const { latency, token } = stage();
    for (let count = 0; count < 10; count += 1) token(STARTED + count * 20, { page: -hour });
    token(STARTED + 200, { page: 600 - hour });
    const { stalls, hops } = latency.summary();
    expect(stalls).toMatchObject([{ hop: "page" }]);
    expect(hops.page?.p50).toBeCloseTo(0);
    expect(hops.page?.max).toBeCloseTo(600);
  });

  it("is measured by each stream's own clock: one that stood still while the computer slept lags behind", () => {
    const asleep = 3_600_000;
    const { latency, token, open, caughtUp } = stage();
    for (let count = 0; count < 10; count += 1) token(STARTED + count * 20);
    open();
    caughtUp();
    for (let count = 0; count < 10; count += 1) token(STARTED + asleep + count * 20, { page: -asleep });
    expect(latency.summary().hops.page?.max).toBeCloseTo(0);
  });

  it("is none behind a tool call: that is what was waited for", () => {
    const { latency, token, say } = stage();
    token(STARTED);
    say("tool_start", { callId: "c", tool: "t", args: null });
    token(STARTED + 5_000);
    expect(latency.summary()).toMatchObject({ stalls: [], gap: undefined, tokens: 2 });
  });
});

describe("what was in the log already", () => {
  it("is counted and not measured, when a lost connection is back", () => {
    const { latency, token, open, caughtUp } = stage();
    token(STARTED);
    open();
    // Both have waited in the log: received long after they were made.
    token(STARTED + 20, { send: 9_000 });
    token(STARTED + 40, { send: 9_000 });
    caughtUp();
    token(STARTED + 9_060);
    token(STARTED + 9_080);
    expect(latency.summary()).toMatchObject({ tokens: 3, replayed: 2, stalls: [] });
    expect(latency.rows.map(({ gapMs }) => gapMs && Math.round(gapMs))).toEqual([undefined, undefined, 20]);
  });

  it("is counted and not measured, when the connection was lost that was watched only later", () => {
    const { latency, token, open, caughtUp } = stage({}, true);
    token(STARTED);
    open();
    token(STARTED + 20, { send: 9_000 });
    caughtUp();
    token(STARTED + 9_060);
    expect(latency.summary()).toMatchObject({ tokens: 2, replayed: 1, stalls: [] });
  });

  it("is all until a joined stream has caught up, also where another tab read it live before", () => {
    const { latency, token, open, caughtUp } = stage({ joined: true });
    token(STARTED - 5_000, { page: 5_000 });
    token(STARTED - 4_000, { page: 4_000 });
    caughtUp();
    open();
    token(STARTED + 500);
    const { replayed, tokens, firstTokenMs, hops } = latency.summary();
    expect({ replayed, tokens, firstTokenMs }).toEqual({ replayed: 2, tokens: 1, firstTokenMs: undefined });
    expect(hops.page?.max).toBeCloseTo(0);
  });

  it("is what another run has said before it is followed instead of this one", () => {
    const { latency, token, open, caughtUp } = stage();
    latency.take({ kind: "reconnecting", attempt: 1 });
    latency.take({ kind: "joined", runId: "r" });
    open();
    token(STARTED - 5_000, { page: 5_000 });
    caughtUp();
    token(STARTED + 500);
    expect(latency.summary()).toMatchObject({ replayed: 1, tokens: 1, firstTokenMs: undefined });
  });
});

it("tokens without stamps are counted apart", () => {
  const { latency, say } = stage();
  say("text_delta", { content: "x", tokens: 3 });
  expect(latency.summary()).toMatchObject({ tokens: 0, unstamped: 3 });
});

it("keeps a bounded number of rows", () => {
  const { latency, token } = stage();
  for (let count = 0; count < 9_000; count += 1) token(STARTED + count);
  expect(latency.rows.length).toBeLessThanOrEqual(7_500);
  expect(latency.rows.at(-1)?.sequence).toBe(9_000);
  expect(latency.summary().tokens).toBe(9_000);
});
