import { RequestFailed, type Signal, startState } from "@tokenwire/client";
import type { SessionTurn } from "@tokenwire/client/session";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { chartData } from "./chart-data.ts";
import { LatencySwitch } from "./latency-switch.ts";
import { LatencyWatch } from "./latency-watch.ts";

const live: SessionTurn = {
  id: "t1",
  runId: "r",
  message: "m",
  createdAtMs: 0,
  run: startState(100),
};
const ended: SessionTurn = {
  ...live,
  run: { ...live.run, outcome: { kind: "done", finishReason: "stop", usage: undefined } },
};

let sequence = 0;

function token(model: number): Signal {
  sequence += 1;
  const timing = { model, logged: model + 1, send: model + 2, recv: model + 3 };
  return {
    kind: "event",
    event: { type: "text_delta", timestamp: 0, content: "x", tokens: 1, timing },
    atMs: model + 4,
    cursor: { id: `r.1.${sequence}`, runId: "r", epoch: 1, sequence },
  };
}

const opened = (timingToken: string): Signal => ({
  kind: "opened",
  runId: "r",
  traceId: undefined,
  timingToken,
});

function done(): Signal {
  sequence += 1;
  return {
    kind: "event",
    event: { type: "done", timestamp: 0, finalMessage: "", finalMessageOmitted: false, finishReason: "stop" },
    atMs: 900,
    cursor: { id: `r.1.${sequence}`, runId: "r", epoch: 1, sequence },
  };
}

beforeEach(() => {
  sequence = 0;
});

describe("the watch", () => {
  it("shows the newest answer, at its end at the latest, and begins anew with the next", () => {
    const watch = new LatencyWatch({ reports: () => false, send: vi.fn(), originMs: 0 });
    const heard = vi.fn();
    watch.subscribe(heard);
    watch.hear(opened("k"), live);
    for (const model of [300, 320, 340]) watch.hear(token(model), live);
    expect(heard).not.toHaveBeenCalled();
    watch.hear(done(), ended);
    expect(heard).toHaveBeenCalledOnce();
    expect(watch.getSnapshot().summary).toMatchObject({ tokens: 3, firstTokenMs: 204 });
    const again: SessionTurn = { ...ended, id: "t2" };
    watch.hear(token(400), again);
    expect(watch.getSnapshot().summary).toMatchObject({ tokens: 1 });
  });

  it("goes on showing an answer to a listener that comes back in its middle, as in StrictMode", () => {
    vi.useFakeTimers();
    const watch = new LatencyWatch({ reports: () => false, send: vi.fn(), originMs: 0 });
    const stop = watch.subscribe(vi.fn());
    watch.hear(token(300), live);
    stop();
    const heard = vi.fn();
    watch.subscribe(heard);
    watch.hear(token(320), live);
    vi.runAllTimers();
    vi.useRealTimers();
    expect(heard).toHaveBeenCalledOnce();
  });

  it("reports each stream once, when the user wants that", async () => {
    const send = vi.fn(async () => {});
    const watch = new LatencyWatch({ reports: () => true, send, originMs: 0 });
    watch.hear(opened("one"), live);
    watch.hear(token(300), live);
    watch.hear(opened("two"), live);
    watch.hear(token(320), live);
    watch.hear(done(), ended);
    expect(send.mock.calls).toMatchObject([
      ["r", { token: "one", parts: [{ first: 1, receivedMs: [304] }] }],
      ["r", { token: "two", parts: [{ first: 2, receivedMs: [324, 900] }] }],
    ]);
    await vi.waitFor(() => expect(watch.getSnapshot().reported).toBe("2 streams were reported."));
  });

  it("reports nothing unasked, and says why a report was not taken", async () => {
    const failure = { code: "ABORTED", message: "Too late.", retryable: false, resumable: false };
    const send = vi.fn(() => Promise.reject(new RequestFailed(failure)));
    let reports = false;
    const watch = new LatencyWatch({ reports: () => reports, send, originMs: 0 });
    for (const signal of [opened("k"), token(300)]) watch.hear(signal, live);
    watch.hear(done(), ended);
    expect(send).not.toHaveBeenCalled();
    reports = true;
    for (const signal of [opened("k"), token(300)]) watch.hear(signal, { ...live, id: "t2" });
    watch.hear(done(), { ...ended, id: "t2" });
    await vi.waitFor(() => expect(watch.getSnapshot().reported).toContain("Too late."));
  });
});

it("the chart has a column for each hop, and draws a gap of nothing at the scale's end", () => {
  const rows = [
    { sequence: 1, atMs: 1_000 },
    { sequence: 2, atMs: 2_000, gapMs: 30, hop: "model" },
    { sequence: 3, atMs: 2_000, gapMs: 0, hop: "page" },
  ] as const;
  expect(chartData(rows)).toEqual([
    [2, 2],
    [30, null],
    [null, null],
    [null, null],
    [null, null],
    [null, 0.1],
  ]);
});

it("the switch is kept in the tab", () => {
  sessionStorage.clear();
  new LatencySwitch(sessionStorage).choose({ open: true });
  expect(new LatencySwitch(sessionStorage).getChoice()).toEqual({ open: true, reports: false });
});

it("the switch works where there is no room to keep it", () => {
  const setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  const latency = new LatencySwitch({ getItem: () => null, removeItem: () => {}, setItem });
  const heard = vi.fn();
  latency.subscribe(heard);
  latency.choose({ open: true });
  expect(heard).toHaveBeenCalledOnce();
  expect(latency.getChoice().open).toBe(true);
});
