import { describe, expect, it, vi } from "vitest";
import { RunFailed, type RunEvent } from "./run.ts";
import {
  NETWORK_ERROR,
  ScriptedBrowser,
  Stage,
  done,
  frame,
  openStream,
  problem,
  started,
  stream,
  token,
  tries,
  type Reply,
} from "./scripted-server.ts";

const BUSY = { code: "ABORTED", detail: "Busy.", retryable: true };
const LIMIT = { code: "RESOURCE_EXHAUSTED", detail: "Too many.", retryable: true };
const LONG = { delaysMs: [3_600_000] };

const keysOf = (stage: Stage) => stage.sent.map(({ headers }) => headers.get("idempotency-key"));

describe("a start", () => {
  it("that was cut is sent again with the same key and the same body", async () => {
    const stage = new Stage([NETWORK_ERROR, NETWORK_ERROR, stream(started, done(2, "a"))]);
    await stage.start();
    expect(stage.run.status).toBe("done");
    expect(new Set(keysOf(stage)).size).toBe(1);
    expect(new Set(stage.sent.map(({ init }) => init.body)).size).toBe(1);
    expect(stage.requests).toHaveLength(3);
  });

  it("takes another key for another run", async () => {
    const stage = new Stage([stream(started, done(2, "a")), stream(started, done(2, "a"))]);
    await stage.start();
    await stage.start();
    expect(new Set(keysOf(stage)).size).toBe(2);
  });

  it.each([429, 503, 500])("that was refused for now with %i is sent again", async (status) => {
    const stage = new Stage([problem(status, LIMIT), stream(started, done(2, "a"))]);
    await stage.start();
    expect(stage.run.status).toBe("done");
    expect(new Set(keysOf(stage)).size).toBe(1);
  });

  it("shows why it waits, and waits as long as Retry-After says", async () => {
    const stage = new Stage([problem(429, LIMIT, { "retry-after": "7" })], { retry: {} });
    const timers = vi.spyOn(globalThis, "setTimeout");
    const running = stage.start();
    await vi.waitFor(() => expect(stage.state.connection).toBe("reconnecting"));
    expect(stage.state).toMatchObject({ status: "submitted", trouble: { message: "Too many." } });
    await vi.waitFor(() => expect(timers.mock.calls.map(([, ms]) => ms)).toContain(7_000));
    timers.mockRestore();
    stage.run.leave();
    await running;
  });

  it.each([400, 403, 404, 413])("that was refused with %i is not sent again", async (status) => {
    const stage = new Stage([problem(status, { code: "INVALID_ARGUMENT", retryable: false })]);
    await stage.start();
    expect(stage.requests).toHaveLength(1);
    expect(stage.state.outcome).toMatchObject({ failure: { status, resumable: false } });
    expect(stage.run.connection).toBe("closed");
  });

  it("that was given up can be taken up again, still with its key", async () => {
    const stage = new Stage([NETWORK_ERROR, NETWORK_ERROR, stream(started, done(2, "a"))], {
      retry: tries(1),
    });
    await stage.start();
    expect(stage.state).toMatchObject({ status: "failed", connection: "disconnected" });
    await stage.resume();
    expect(stage.run.status).toBe("done");
    expect(new Set(keysOf(stage)).size).toBe(1);
  });

  it("follows the run that the session is busy with", async () => {
    const busy = problem(409, { ...BUSY, details: { reason: "SESSION_BUSY", run_id: "r1" } });
    const stage = new Stage([busy, stream(started, token(2, "theirs"), done(3, "theirs"))]);
    await stage.start();
    expect(stage.text).toBe("theirs");
    expect(stage.state).toMatchObject({ joined: true, status: "done", runId: "r1" });
    expect(stage.requests[1]).toEqual({ method: "GET", url: "/api/runs/r1/events", lastEventId: null });
  });

  it("fails where the session is busy, if it is told to", async () => {
    const busy = problem(409, { ...BUSY, details: { reason: "SESSION_BUSY", run_id: "r1" } });
    const stage = new Stage([busy], {}, { whenBusy: "fail" });
    await stage.start();
    expect(stage.failureCode).toBe("ABORTED");
    expect(stage.requests).toHaveLength(1);
  });
});

describe("401", () => {
  const refused = problem(401, { code: "UNAUTHENTICATED", retryable: false });

  it("asks once more with fresh headers", async () => {
    const asked: boolean[] = [];
    const headers = ({ refused: old }: { refused: boolean }) => {
      asked.push(old);
      return { Authorization: old ? "fresh" : "stale" };
    };
    const stage = new Stage([refused, stream(started, done(2, "a"))], { headers });
    await stage.start();
    expect(stage.run.status).toBe("done");
    expect(asked).toEqual([false, true]);
    expect(stage.sent.map(({ headers: sent }) => sent.get("authorization"))).toEqual(["stale", "fresh"]);
  });

  it("is final when the fresh ones are refused, too, or are the same", async () => {
    let number = 0;
    const different = new Stage([refused, refused], {
      headers: () => ({ Authorization: `${(number += 1)}` }),
    });
    await different.start();
    expect(different.state.outcome).toMatchObject({ failure: { status: 401 } });
    expect(different.requests).toHaveLength(2);

    const same = new Stage([refused], { headers: () => ({ Authorization: "same" }) });
    await same.start();
    expect(same.state.outcome).toMatchObject({ failure: { status: 401 } });
    expect(same.requests).toHaveLength(1);
  });
});

describe("the network's return", () => {
  it.each(["online", "shown"] as const)("tries at once (%s)", async (reason) => {
    const stage = new Stage([stream(started), NETWORK_ERROR, stream(done(2, "a"))], {
      retry: { delaysMs: [0, 3_600_000] },
    });
    const running = stage.start();
    await vi.waitFor(() => expect(stage.requests).toHaveLength(2));
    await vi.waitFor(() => expect(stage.state.attempt).toBe(2));
    stage.browser.wake(reason);
    await running;
    expect(stage.run.status).toBe("done");
  });

  it("does not wait for an old connection to be found dead", async () => {
    const silent = openStream();
    const stage = new Stage([silent.reply, stream(token(2, "a"), done(3, "a"))], { retry: LONG });
    const running = stage.start();
    await silent.write(started);
    await vi.waitFor(() => expect(stage.state.runId).toBe("r1"));
    stage.browser.wake("online");
    await running;
    expect(stage.requests[1]?.lastEventId).toBe("r1.1.1");
    expect(stage.signals.map(({ kind }) => kind)).not.toContain("reconnecting");
  });

  it("leaves a connection alone that has just brought something when the page is shown", async () => {
    const open = openStream();
    const stage = new Stage([open.reply]);
    const running = stage.start();
    await open.write(started);
    await vi.waitFor(() => expect(stage.state.runId).toBe("r1"));
    stage.browser.wake("shown");
    await open.write(done(2, "a"));
    await running;
    expect(stage.requests).toHaveLength(1);
  });

  it("is waited for, however long it takes, and shown as disconnected meanwhile", async () => {
    const browser = new ScriptedBrowser();
    browser.online = false;
    const cuts = Array.from({ length: 30 }, () => NETWORK_ERROR);
    const stage = new Stage(
      [stream(started), ...cuts, stream(done(2, "a"))],
      { retry: { budgetMs: 0 } },
      {},
      browser,
    );
    const running = stage.start();
    const seen = new Set<string>();
    stage.run.subscribe(({ attempt, connection, status }) => {
      if (attempt > 0) seen.add(`${connection} ${status}`);
    });
    await running;
    expect([...seen]).toEqual(["disconnected submitted"]);
    expect(stage.requests).toHaveLength(32);
    expect(stage.run.status).toBe("done");
  });
});

describe("an iteration", () => {
  async function collect(stage: Stage): Promise<RunEvent[]> {
    const events: RunEvent[] = [];
    for await (const event of stage.run) events.push(event);
    return events;
  }

  it("yields each event once, from the first on, whenever it begins", async () => {
    const stage = new Stage([stream(started, token(2, "a")), stream(token(3, "b"), done(4, "ab"))]);
    await stage.start();
    const types = (await collect(stage)).map(({ type }) => type);
    expect(types).toEqual(["run_started", "text_delta", "text_delta", "done"]);
  });

  it("waits for what is to come", async () => {
    const open = openStream();
    const stage = new Stage([open.reply]);
    void stage.start();
    const collecting = collect(stage);
    await open.write(started);
    await open.write(token(2, "a"));
    await open.write(done(3, "a"));
    expect(await collecting).toHaveLength(3);
  });

  it("throws when the end can't be had, behind the events that came", async () => {
    const stage = new Stage([stream(started, token(2, "a"))], { retry: tries(0) });
    await stage.start();
    const seen: RunEvent[] = [];
    const reading = (async () => {
      for await (const event of stage.run) seen.push(event);
    })();
    await expect(reading).rejects.toThrow(RunFailed);
    expect(seen).toHaveLength(2);
  });

  it("ends with a run's own error as with any event", async () => {
    const error = frame(2, { type: "error", code: "INTERNAL", message: "Failed." });
    const stage = new Stage([stream(started, error)]);
    await stage.start();
    expect((await collect(stage)).at(-1)).toMatchObject({ type: "error", code: "INTERNAL" });
  });

  it("that is left early leaves the run, and does not stop it", async () => {
    const open = openStream();
    const stage = new Stage([open.reply]);
    void stage.start();
    await open.write(started + token(2, "a"));
    for await (const event of stage.run) if (event.type === "text_delta") break;
    expect(stage.sent[0]?.init.signal?.aborted).toBe(true);
    expect(stage.requests.map(({ url }) => url)).toEqual(["/api/chat"]);
    expect(stage.run.connection).toBe("closed");
  });

  it("can be made once", async () => {
    const stage = new Stage([stream(started, done(2, "a"))]);
    await stage.start();
    await collect(stage);
    await expect(collect(stage)).rejects.toThrow("once");
  });

  it("says where the log begins anew", async () => {
    const resync = `event: resync\ndata: ${JSON.stringify({ first: "r1.1.1", last: "r1.1.2", reason: "ahead" })}\n\n`;
    const stage = new Stage([
      stream(started, token(2, "a")),
      stream(resync, started, token(2, "b"), done(3, "")),
    ]);
    await stage.start();
    expect(await collect(stage)).toContainEqual({ type: "resynced", restart: true, complete: true });
  });
});

describe("listeners", () => {
  it("hear of their type, until they stop listening", async () => {
    const stage = new Stage([stream(started, token(2, "a"), token(3, "b"), done(4, "ab"))]);
    const running = stage.start();
    const texts: string[] = [];
    const stop = stage.run.on("text_delta", ({ content }) => {
      texts.push(content);
      stop();
    });
    await running;
    expect(texts).toEqual(["a"]);
  });

  it("that throw do not harm the stream", async () => {
    const thrown: unknown[] = [];
    const queue = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((report) => {
      try {
        report();
      } catch (error) {
        thrown.push(error);
      }
    });
    const stage = new Stage([stream(started, token(2, "a"), done(3, "a"))]);
    const running = stage.start();
    stage.run.on("text_delta", () => {
      throw new Error("the page's own fault");
    });
    await running;
    queue.mockRestore();
    expect(stage.text).toBe("a");
    expect(stage.requests).toHaveLength(1);
    expect(thrown).toHaveLength(1);
  });
});

describe("nothing is left", () => {
  /** Count the timers that are set and not yet cleared or run. */
  function heldTimers(): () => number {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] });
    return () => vi.getTimerCount();
  }

  const scenes: Readonly<Record<string, readonly Reply[]>> = {
    "while it waits for the answer": [() => new Promise<Response>(() => undefined)],
    "while it streams": [openStream().reply],
    "while it waits to try again": [NETWORK_ERROR],
    "while it can't be had": [problem(503, LIMIT, { "retry-after": "30" })],
    "behind its end": [stream(started, done(2, "a"))],
  };

  it.each(Object.entries(scenes))("of a run that is left %s", async (_, replies) => {
    const held = heldTimers();
    try {
      const stage = new Stage(replies, { retry: LONG });
      const aborting = new AbortController();
      const removed = vi.spyOn(aborting.signal, "removeEventListener");
      const run = stage.client.startRun({ message: "a", sessionId: "s" }, { signal: aborting.signal });
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      stage.client.close();
      await run.finished;
      for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
      expect(held()).toBe(0);
      expect(stage.browser.listeners.size).toBe(0);
      expect(removed).toHaveBeenCalled();
      expect(stage.sent.every(({ init }) => init.signal?.aborted)).toBe(true);
      aborting.abort();
      expect(stage.requests).toHaveLength(1);
    } finally {
      vi.useRealTimers();
    }
  });
});
