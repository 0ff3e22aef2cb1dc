import { describe, expect, it, vi } from "vitest";
import {
  NETWORK_ERROR,
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

describe("a whole stream", () => {
  it("is read to its terminal event with one request", async () => {
    const stage = new Stage([
      stream(started, token(2, "Apples"), token(3, ", pears"), done(4, "Apples, pears")),
    ]);
    await stage.start();
    expect(stage.text).toBe("Apples, pears");
    expect(stage.state.outcome).toMatchObject({ kind: "done", finishReason: "stop" });
    expect(stage.requests).toEqual([{ method: "POST", url: "/api/chat", lastEventId: null }]);
  });

  it("is taken up again behind an error that the edge made: the run may still be there", async () => {
    const error = `data: ${JSON.stringify({ type: "error", code: "UNAVAILABLE", message: "Gone.", retryable: true })}\n\n`;
    const stage = new Stage([stream(started, token(2, "a"), error), stream(token(3, "b"), done(4, "ab"))]);
    await stage.start();
    expect(stage.text).toBe("ab");
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
    expect(stage.requests[1]?.lastEventId).toBe("r1.1.2");
  });

  it("does not give up a run that is silent, however often its connection is cut", async () => {
    const caughtUp = 'event: caught_up\ndata: {"cursor":"r1.1.1"}\n\n';
    const cuts = Array.from({ length: 20 }, () => stream(caughtUp));
    const stage = new Stage([stream(started), ...cuts, stream(done(2, "a"))]);
    await stage.start();
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it("fails with an error that the edge makes again and again, and can be taken up still", async () => {
    const error = `data: ${JSON.stringify({ type: "error", code: "UNAVAILABLE", message: "Gone.", retryable: true })}\n\n`;
    const stage = new Stage([stream(started, token(2, "a"), error), stream(error)], { retry: tries(1) });
    await stage.start();
    expect(stage.state.outcome).toMatchObject({ failure: { code: "UNAVAILABLE", resumable: true } });
    expect(stage.state).toMatchObject({ status: "failed", connection: "disconnected" });
  });

  it("passes over what it does not know", async () => {
    const odd = frame(2, { type: "hologram" });
    const stage = new Stage([
      stream(started, odd, ": beat\n\n", "event: weather\ndata: x\n\n", done(3, "a")),
    ]);
    await stage.start();
    expect(stage.text).toBe("a");
    expect(stage.state.gap).toBe(false);
  });
});

describe("a stream without a terminal event", () => {
  it("is taken up behind the last event, and repeats are passed over", async () => {
    const stage = new Stage([
      stream(started, token(2, "a"), token(3, "b")),
      stream(token(3, "b"), token(4, "c"), done(5, "abc")),
    ]);
    await stage.start();
    expect(stage.text).toBe("abc");
    expect(stage.requests).toEqual([
      { method: "POST", url: "/api/chat", lastEventId: null },
      { method: "GET", url: "/api/runs/r1/events", lastEventId: "r1.1.3" },
    ]);
    expect(stage.signals.some(({ kind }) => kind === "reconnecting")).toBe(true);
  });

  it("is taken up from the start when only the Run-Id header arrived", async () => {
    const stage = new Stage([stream(": open\n\n"), stream(started, done(2, "a"))]);
    await stage.start();
    expect(stage.text).toBe("a");
    expect(stage.requests[1]).toEqual({ method: "GET", url: "/api/runs/r1/events", lastEventId: null });
  });

  it("survives network errors and 503 in between", async () => {
    const stage = new Stage([
      stream(started, token(2, "a")),
      NETWORK_ERROR,
      problem(503, { code: "UNAVAILABLE" }),
      stream(done(3, "a")),
    ]);
    await stage.start();
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it("is never a success: after the last attempt the loss is shown and can be resumed", async () => {
    const stage = new Stage([stream(started, token(2, "a"))], { retry: tries(3) });
    await stage.start();
    expect(stage.requests).toHaveLength(4);
    expect(stage.text).toBe("a");
    expect(stage.state.outcome).toMatchObject({ failure: { code: "CONNECTION_LOST", resumable: true } });
  });

  it("counts only attempts in a row that bring nothing new", async () => {
    const drops = [2, 3, 4, 5].map((sequence) => stream(token(sequence, "x")));
    const stage = new Stage([stream(started), ...drops, stream(done(6, "xxxx"))], { retry: tries(2) });
    await stage.start();
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it("can be resumed by hand after the loss", async () => {
    const stage = new Stage(
      [stream(started, token(2, "a")), NETWORK_ERROR, stream(token(3, "b"), done(4, "ab"))],
      {
        retry: tries(1),
      },
    );
    await stage.start();
    expect(stage.failureCode).toBe("CONNECTION_LOST");
    await stage.resume();
    expect(stage.text).toBe("ab");
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it.each([404, 410, 501])(
    "is given up at once when the server answers %i, and can be asked again",
    async (status) => {
      const gone = problem(status, { code: "DATA_LOSS", detail: "The run is gone.", retryable: false });
      const stage = new Stage([stream(started), gone]);
      await stage.start();
      expect(stage.state.outcome).toMatchObject({
        failure: { code: "DATA_LOSS", retryable: true, resumable: false },
      });
      expect(stage.requests).toHaveLength(2);
    },
  );

  it("is a loss when the server says that there is no more, for the end was not seen", async () => {
    const stage = new Stage([stream(started), () => new Response(null, { status: 204 })]);
    await stage.start();
    expect(stage.failureCode).toBe("CONNECTION_LOST");
  });

  it("is asked again with the same key when nothing named the run", async () => {
    const nameless: Reply = () =>
      new Response(": open\n\n", { headers: { "content-type": "text/event-stream" } });
    const stage = new Stage([nameless, stream(started, done(2, "a"))]);
    await stage.start();
    expect(stage.text).toBe("a");
    expect(stage.requests.map(({ method }) => method)).toEqual(["POST", "POST"]);
    const keys = stage.sent.map(({ headers }) => headers.get("idempotency-key"));
    expect(keys[0]).toMatch(/^.{16,}$/);
    expect(keys[1]).toBe(keys[0]);
  });

  it("is noticed by silence alone", async () => {
    const silent = openStream();
    const stage = new Stage([silent.reply, stream(started, done(2, "a"))], { stallMs: 30 });
    await stage.start();
    expect(stage.text).toBe("a");
    expect(stage.requests).toHaveLength(2);
  });

  it("asks again for a merged frame that begins with text already shown", async () => {
    const merged = frame(4, { type: "text_delta", content: "bc", tokens: 2, from: 3 });
    const stage = new Stage([
      stream(started, token(2, "a"), token(3, "b"), merged),
      stream(token(4, "c"), done(5, "abc")),
    ]);
    await stage.start();
    expect(stage.text).toBe("abc");
    expect(stage.requests[1]?.lastEventId).toBe("r1.1.3");
  });
});

describe("control frames", () => {
  it("reconnect leaves for another edge after the time it names", async () => {
    const stage = new Stage(
      [stream(started, 'event: reconnect\ndata: {"retryMs":70}\n\n'), stream(done(2, "a"))],
      { retry: {} },
    );
    const timers = vi.spyOn(globalThis, "setTimeout");
    await stage.start();
    expect(timers.mock.calls.map(([, ms]) => ms)).toContain(70);
    timers.mockRestore();
    expect(stage.text).toBe("a");
  });

  it("resync behind the cursor shows the gap", async () => {
    const resync = `event: resync\ndata: ${JSON.stringify({ first: "r1.1.9", last: "r1.1.12", reason: "trimmed" })}\n\n`;
    const omitted = frame(10, { type: "done", finalMessageOmitted: true, finishReason: "stop" });
    const stage = new Stage([stream(started, token(2, "a")), stream(resync, token(9, "z"), omitted)]);
    await stage.start();
    expect(stage.text).toBe("az");
    expect(stage.state.gap).toBe(true);
  });

  it("resync from the first event begins anew and loses nothing", async () => {
    const resync = `event: resync\ndata: ${JSON.stringify({ first: "r1.1.1", last: "r1.1.2", reason: "ahead" })}\n\n`;
    const stage = new Stage([
      stream(started, token(2, "a"), token(3, "b")),
      stream(resync, started, token(2, "a"), done(3, "")),
    ]);
    await stage.start();
    expect(stage.text).toBe("a");
    expect(stage.state.gap).toBe(false);
  });
});
