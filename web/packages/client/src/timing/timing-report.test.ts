import { describe, expect, it, vi } from "vitest";
import type { Signal } from "../stream-state.ts";
import { ReceivedEvents, sendTimingReport } from "./timing-report.ts";

const opened = (timingToken?: string): Signal => ({
  kind: "opened",
  runId: "r",
  traceId: undefined,
  timingToken,
});

function event(sequence: number, atMs: number): Signal {
  const cursor = { id: `r.1.${sequence}`, runId: "r", epoch: 1, sequence };
  return {
    kind: "event",
    event: { type: "text_delta", timestamp: 0, content: "x", tokens: 1 },
    atMs,
    cursor,
  };
}

describe("the events that a page received", () => {
  it("are told once, in Unix milliseconds, in parts of consecutive ones", () => {
    const received = new ReceivedEvents(1_000_000);
    received.take(opened("t"));
    for (const [sequence, atMs] of [1, 2, 3, 7, 8].entries()) received.take(event(atMs, sequence + 0.1234));
    expect(received.report(9)).toEqual({
      token: "t",
      sentMs: 1_000_009,
      parts: [
        { first: 1, receivedMs: [1_000_000.123, 1_000_001.123, 1_000_002.123] },
        { first: 7, receivedMs: [1_000_003.123, 1_000_004.123] },
      ],
    });
    expect(received.runId).toBe("r");
    expect(received.report(10)).toBeUndefined();
  });

  it("are those of the last stream, whose token proves it", () => {
    const received = new ReceivedEvents(0);
    received.take(opened("one"));
    received.take(event(1, 1));
    received.take(opened("two"));
    received.take(event(2, 2));
    expect(received.report(3)).toMatchObject({ token: "two", parts: [{ first: 2, receivedMs: [2] }] });
  });

  it("are not told of a stream without a token, or without events", () => {
    const received = new ReceivedEvents(0);
    received.take(opened());
    received.take(event(1, 1));
    expect(received.report(2)).toBeUndefined();
    received.take(opened("t"));
    expect(received.report(3)).toBeUndefined();
  });

  it("are not told when the page's clock stood still meanwhile, as while the computer slept", () => {
    const received = new ReceivedEvents(0);
    received.take(opened("t"));
    received.take(event(1, 1));
    const awakeMs = Date.now() + 60_000;
    vi.spyOn(Date, "now").mockReturnValueOnce(awakeMs);
    expect(received.report(2)).toBeUndefined();
    received.take(opened("t"));
    received.take(event(1, 1));
    expect(received.report(2)).toBeDefined();
  });

  it("fit into a request", () => {
    const received = new ReceivedEvents(1_795_838_597_718.123);
    received.take(opened("t"));
    for (let sequence = 1; sequence <= 30_000; sequence += 1) received.take(event(sequence, sequence));
    expect(JSON.stringify(received.report(1)).length).toBeLessThan(256 * 1024);
    received.take(opened("t"));
    for (let sequence = 1; sequence <= 1_000; sequence += 2) received.take(event(sequence, sequence));
    expect(received.report(1)?.parts).toHaveLength(64);
  });
});

describe("a report", () => {
  const report = { token: "t", sentMs: 1, parts: [] };

  it("goes to the run's route, with the caller's headers", async () => {
    const send = vi.fn(async () => new Response(null, { status: 204 }));
    await sendTimingReport("r", report, {
      baseUrl: "/api/",
      headers: { Authorization: "Bearer k" },
      fetch: send,
    });
    const [url, init] = send.mock.calls[0] as unknown as [string, RequestInit];
    expect(url).toBe("/api/runs/r/timing");
    expect(init).toMatchObject({ method: "POST", body: JSON.stringify(report) });
    const headers = init.headers as Headers;
    expect(headers.get("authorization")).toBe("Bearer k");
    expect(headers.get("content-type")).toBe("application/json");
  });

  it("that is refused says why", async () => {
    const problem = { code: "ALREADY_EXISTS", detail: "The stream was reported already." };
    const send = async () => Response.json(problem, { status: 409 });
    await expect(sendTimingReport("r", report, { fetch: send })).rejects.toThrow(problem.detail);
  });
});
