import { describe, expect, it, vi } from "vitest";
import { RunStream, type RunStreamOptions } from "./run-stream.ts";
import { answerText, reduce, type Signal, type StreamState, startState } from "./stream-state.ts";

const encoder = new TextEncoder();

type Reply = (url: string, init: RequestInit) => Response | Promise<Response>;

/** A run under test: scripted answers of the server, in order, and what a page would show. */
class Stage {
  readonly requests: {
    readonly method: string;
    readonly url: string;
    readonly lastEventId: string | null;
  }[] = [];
  readonly cancels: Reply[] = [];
  state: StreamState = startState(0);
  readonly signals: Signal[] = [];
  readonly run: RunStream;
  readonly #replies: Reply[];

  constructor(replies: readonly Reply[], options: Partial<RunStreamOptions> = {}) {
    this.#replies = [...replies];
    this.run = new RunStream(
      { message: "List three fruits.", sessionId: "s" },
      {
        fetch: (url, init) => this.#answer(url as string, init ?? {}),
        sleep: () => Promise.resolve(),
        now: () => 1,
        onSignal: (signal) => {
          this.signals.push(signal);
          this.state = reduce(this.state, signal);
        },
        ...options,
      },
    );
  }

  get text(): string {
    return answerText(this.state);
  }

  get failureCode(): string | undefined {
    return this.state.outcome?.kind === "failed" ? this.state.outcome.failure.code : undefined;
  }

  async #answer(url: string, init: RequestInit): Promise<Response> {
    const lastEventId = new Headers(init.headers).get("last-event-id");
    this.requests.push({ method: init.method ?? "GET", url, lastEventId });
    const replies = url.endsWith("/cancel") ? this.cancels : this.#replies;
    const reply = replies.shift();
    if (reply === undefined) throw new TypeError("fetch failed");
    return reply(url, init);
  }
}

const NETWORK_ERROR: Reply = () => Promise.reject(new TypeError("fetch failed"));

function frame(sequence: number, fields: object): string {
  return `id: r1.1.${sequence}\ndata: ${JSON.stringify({ timestamp: 5, ...fields })}\n\n`;
}

const started = frame(1, { type: "run_started", runId: "r1", sessionId: "s", agent: "pace" });
const token = (sequence: number, content: string) => frame(sequence, { type: "text_delta", content });
const done = (sequence: number, finalMessage: string, finishReason = "stop") =>
  frame(sequence, { type: "done", finalMessage, finishReason });

function stream(...chunks: readonly string[]): Reply {
  return () =>
    new Response(new Blob([...chunks]).stream(), {
      headers: { "content-type": "text/event-stream", "run-id": "r1" },
    });
}

/** A stream that stays open: the test writes into it. */
function openStream(headers: Record<string, string> = { "run-id": "r1" }) {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const reply: Reply = (_url, init) => {
    init.signal?.addEventListener("abort", () => void writer.abort(init.signal?.reason).catch(() => {}));
    return new Response(readable, { headers: { "content-type": "text/event-stream", ...headers } });
  };
  return {
    reply,
    write: (text: string) => writer.write(encoder.encode(text)),
    end: () => writer.close(),
  };
}

function problem(status: number, fields: object): Reply {
  return () =>
    new Response(JSON.stringify(fields), { status, headers: { "content-type": "application/problem+json" } });
}

const cancelled: Reply = () => Response.json({ runId: "r1", state: "cancelling" });

describe("a whole stream", () => {
  it("is read to its terminal event with one request", async () => {
    const stage = new Stage([
      stream(started, token(2, "Apples"), token(3, ", pears"), done(4, "Apples, pears")),
    ]);
    await stage.run.start();
    expect(stage.text).toBe("Apples, pears");
    expect(stage.state.outcome).toMatchObject({ kind: "done", finishReason: "stop" });
    expect(stage.requests).toEqual([{ method: "POST", url: "/api/chat", lastEventId: null }]);
  });

  it("can be taken up again behind an error that the edge made: the run may still be there", async () => {
    const error = `data: ${JSON.stringify({ type: "error", code: "UNAVAILABLE", message: "Gone.", retryable: true })}\n\n`;
    const stage = new Stage([stream(started, token(2, "a"), error), stream(token(3, "b"), done(4, "ab"))]);
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({ failure: { resumable: true } });
    await stage.run.resume();
    expect(stage.text).toBe("ab");
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
    expect(stage.requests[1]?.lastEventId).toBe("r1.1.2");
  });

  it("does not give up a run that is silent, however often its connection is cut", async () => {
    const caughtUp = 'event: caught_up\ndata: {"cursor":"r1.1.1"}\n\n';
    const cuts = Array.from({ length: 20 }, () => stream(caughtUp));
    const stage = new Stage([stream(started), ...cuts, stream(done(2, "a"))]);
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it("ends with an error that the edge made and gave no id", async () => {
    const error = `data: ${JSON.stringify({ type: "error", code: "UNAVAILABLE", message: "Gone.", retryable: true })}\n\n`;
    const stage = new Stage([stream(started, token(2, "a"), error)]);
    await stage.run.start();
    expect(stage.failureCode).toBe("UNAVAILABLE");
    expect(stage.requests).toHaveLength(1);
  });

  it("passes over what it does not know", async () => {
    const odd = frame(2, { type: "hologram" });
    const stage = new Stage([
      stream(started, odd, ": beat\n\n", "event: weather\ndata: x\n\n", done(3, "a")),
    ]);
    await stage.run.start();
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
    await stage.run.start();
    expect(stage.text).toBe("abc");
    expect(stage.requests).toEqual([
      { method: "POST", url: "/api/chat", lastEventId: null },
      { method: "GET", url: "/api/runs/r1/events", lastEventId: "r1.1.3" },
    ]);
    expect(stage.signals.some(({ kind }) => kind === "reconnecting")).toBe(true);
  });

  it("is taken up from the start when only the Run-Id header arrived", async () => {
    const stage = new Stage([stream(": open\n\n"), stream(started, done(2, "a"))]);
    await stage.run.start();
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
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it("is never a success: after the last attempt the loss is shown and can be resumed", async () => {
    const stage = new Stage([stream(started, token(2, "a"))], { maxAttempts: 3 });
    await stage.run.start();
    expect(stage.requests).toHaveLength(4);
    expect(stage.text).toBe("a");
    expect(stage.state.outcome).toMatchObject({ failure: { code: "CONNECTION_LOST", resumable: true } });
  });

  it("counts only attempts in a row that bring nothing new", async () => {
    const drops = [2, 3, 4, 5].map((sequence) => stream(token(sequence, "x")));
    const stage = new Stage([stream(started), ...drops, stream(done(6, "xxxx"))], { maxAttempts: 2 });
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it("can be resumed by hand after the loss", async () => {
    const stage = new Stage(
      [stream(started, token(2, "a")), NETWORK_ERROR, stream(token(3, "b"), done(4, "ab"))],
      {
        maxAttempts: 1,
      },
    );
    await stage.run.start();
    expect(stage.failureCode).toBe("CONNECTION_LOST");
    await stage.run.resume();
    expect(stage.text).toBe("ab");
    expect(stage.state.outcome).toMatchObject({ kind: "done" });
  });

  it.each([404, 410, 501])(
    "is given up at once when the server answers %i, and can be asked again",
    async (status) => {
      const gone = problem(status, { code: "DATA_LOSS", detail: "The run is gone.", retryable: false });
      const stage = new Stage([stream(started), gone]);
      await stage.run.start();
      expect(stage.state.outcome).toMatchObject({
        failure: { code: "DATA_LOSS", retryable: true, resumable: false },
      });
      expect(stage.requests).toHaveLength(2);
    },
  );

  it("is a loss when the server says that there is no more, for the end was not seen", async () => {
    const stage = new Stage([stream(started), () => new Response(null, { status: 204 })]);
    await stage.run.start();
    expect(stage.failureCode).toBe("CONNECTION_LOST");
  });

  it("never asks the question twice when nothing named the run", async () => {
    const nameless: Reply = () =>
      new Response(": open\n\n", { headers: { "content-type": "text/event-stream" } });
    const stage = new Stage([nameless]);
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({ failure: { code: "CONNECTION_LOST", resumable: false } });
    expect(stage.requests).toHaveLength(1);
  });

  it("is noticed by silence alone", async () => {
    const silent = openStream();
    const stage = new Stage([silent.reply, stream(started, done(2, "a"))], { idleTimeoutMs: 30 });
    await stage.run.start();
    expect(stage.text).toBe("a");
    expect(stage.requests).toHaveLength(2);
  });

  it("asks again for a merged frame that begins with text already shown", async () => {
    const merged = frame(4, { type: "text_delta", content: "bc", tokens: 2, from: 3 });
    const stage = new Stage([
      stream(started, token(2, "a"), token(3, "b"), merged),
      stream(token(4, "c"), done(5, "abc")),
    ]);
    await stage.run.start();
    expect(stage.text).toBe("abc");
    expect(stage.requests[1]?.lastEventId).toBe("r1.1.3");
  });
});

describe("control frames", () => {
  it("reconnect leaves for another edge after the time it names", async () => {
    const sleep = vi.fn(() => Promise.resolve());
    const stage = new Stage(
      [stream(started, 'event: reconnect\ndata: {"retryMs":70}\n\n'), stream(done(2, "a"))],
      {
        sleep,
      },
    );
    await stage.run.start();
    expect(sleep).toHaveBeenCalledWith(70);
    expect(stage.text).toBe("a");
  });

  it("resync behind the cursor shows the gap", async () => {
    const resync = `event: resync\ndata: ${JSON.stringify({ first: "r1.1.9", last: "r1.1.12", reason: "trimmed" })}\n\n`;
    const omitted = frame(10, { type: "done", finalMessageOmitted: true, finishReason: "stop" });
    const stage = new Stage([stream(started, token(2, "a")), stream(resync, token(9, "z"), omitted)]);
    await stage.run.start();
    expect(stage.text).toBe("az");
    expect(stage.state.gap).toBe(true);
  });

  it("resync from the first event begins anew and loses nothing", async () => {
    const resync = `event: resync\ndata: ${JSON.stringify({ first: "r1.1.1", last: "r1.1.2", reason: "ahead" })}\n\n`;
    const stage = new Stage([
      stream(started, token(2, "a"), token(3, "b")),
      stream(resync, started, token(2, "a"), done(3, "")),
    ]);
    await stage.run.start();
    expect(stage.text).toBe("a");
    expect(stage.state.gap).toBe(false);
  });
});

describe("a refusal", () => {
  it("shows what the problem details say", async () => {
    const stage = new Stage([
      problem(429, {
        title: "Too many",
        detail: "Wait a little.",
        code: "RESOURCE_EXHAUSTED",
        retryable: true,
      }),
    ]);
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({
      kind: "failed",
      failure: { code: "RESOURCE_EXHAUSTED", message: "Wait a little.", retryable: true, status: 429 },
    });
  });

  it("without problem details still has a code and a sentence", async () => {
    const stage = new Stage([() => new Response("<h1>Bad gateway</h1>", { status: 502 })]);
    await stage.run.start();
    expect(stage.failureCode).toBe("HTTP_502");
  });

  it("is an answer of 200 that is no event stream", async () => {
    const stage = new Stage([
      () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } }),
    ]);
    await stage.run.start();
    expect(stage.failureCode).toBe("HTTP_200");
  });

  it("is a server that can't be reached, and nothing is sent again by itself", async () => {
    const stage = new Stage([NETWORK_ERROR]);
    await stage.run.start();
    expect(stage.failureCode).toBe("UNAVAILABLE");
    expect(stage.requests).toHaveLength(1);
  });
});

describe("headers", () => {
  const authorizations = () => {
    const seen: (string | null)[] = [];
    const noted =
      (reply: Reply): Reply =>
      (url, init) => {
        seen.push(new Headers(init.headers).get("authorization"));
        return reply(url, init);
      };
    return { seen, noted };
  };

  it("go with asking, resuming and stopping, and a function is asked each time", async () => {
    const { seen, noted } = authorizations();
    const open = openStream();
    let number = 0;
    const headers = async () => ({ Authorization: `Bearer ${(number += 1)}` });
    const stage = new Stage([noted(stream(started)), noted(open.reply)], { headers });
    stage.cancels.push(noted(cancelled));
    const running = stage.run.start();
    await vi.waitFor(() => expect(stage.requests).toHaveLength(2));
    stage.run.stop();
    await vi.waitFor(() => expect(stage.requests).toHaveLength(3));
    await open.write(done(2, "", "cancelled"));
    await open.end();
    await running;
    expect(seen).toEqual(["Bearer 1", "Bearer 2", "Bearer 3"]);
  });

  it("never replace those of the protocol", async () => {
    const sent: Headers[] = [];
    const reply: Reply = (url, init) => {
      sent.push(new Headers(init.headers));
      return stream(started, done(2, "a"))(url, init);
    };
    const headers = { accept: "text/html", "content-type": "text/plain", "x-tenant": "a" };
    await new Stage([reply], { headers }).run.start();
    expect(Object.fromEntries(sent[0] ?? [])).toEqual({
      accept: "text/event-stream",
      "content-type": "application/json",
      "x-tenant": "a",
    });
  });

  it("that can't be had fail like a connection", async () => {
    const stage = new Stage([stream(started)], { headers: () => Promise.reject(new Error("away")) });
    await stage.run.start();
    expect(stage.failureCode).toBe("UNAVAILABLE");
    expect(stage.requests).toEqual([]);
  });

  it("that were refused on the way leave the run to be resumed with others", async () => {
    let key = "old";
    const refused = problem(401, { code: "UNAUTHENTICATED", detail: "No.", retryable: false });
    const { seen, noted } = authorizations();
    const stage = new Stage(
      [noted(stream(started, token(2, "a"))), noted(refused), noted(stream(token(3, "b"), done(4, "ab")))],
      { headers: () => ({ Authorization: key }) },
    );
    await stage.run.start();
    expect(stage.state.outcome).toMatchObject({ failure: { status: 401, resumable: true } });
    key = "new";
    await stage.run.resume();
    expect(stage.text).toBe("ab");
    expect(seen).toEqual(["old", "old", "new"]);
  });
});

describe("stop", () => {
  it("cancels the run and goes on reading until it has ended", async () => {
    const open = openStream();
    const stage = new Stage([open.reply]);
    stage.cancels.push(cancelled);
    const running = stage.run.start();
    await open.write(started + token(2, "half"));
    await vi.waitFor(() => expect(stage.text).toBe("half"));
    stage.run.stop();
    stage.run.stop();
    await vi.waitFor(() => expect(stage.requests).toHaveLength(2));
    await open.write(token(3, " more") + done(4, "half more", "cancelled"));
    await open.end();
    await running;
    expect(stage.requests[1]).toMatchObject({ method: "POST", url: "/api/runs/r1/cancel" });
    expect(stage.text).toBe("half more");
    expect(stage.state.outcome).toMatchObject({ kind: "done", finishReason: "cancelled" });
  });

  it("before the run has a name cancels it as soon as it has one", async () => {
    const open = openStream({});
    const stage = new Stage([open.reply]);
    stage.cancels.push(cancelled);
    const running = stage.run.start();
    stage.run.stop();
    expect(stage.state.stopping).toBe(true);
    await open.write(": open\n\n");
    expect(stage.requests).toHaveLength(1);
    await open.write(started);
    await vi.waitFor(() => expect(stage.requests[1]?.url).toBe("/api/runs/r1/cancel"));
    await open.write(done(2, "", "cancelled"));
    await open.end();
    await running;
    expect(stage.state.outcome).toMatchObject({ finishReason: "cancelled" });
  });

  it("tries again when the network fails, and says so when it never gets through", async () => {
    const open = openStream();
    const stage = new Stage([open.reply]);
    stage.cancels.push(NETWORK_ERROR, cancelled);
    const running = stage.run.start();
    await open.write(started);
    stage.run.stop();
    await vi.waitFor(() => expect(stage.cancels).toHaveLength(0));
    expect(stage.state.stopFailed).toBe(false);
    await open.write(done(2, "", "cancelled"));
    await open.end();
    await running;

    const deaf = openStream();
    const second = new Stage([deaf.reply]);
    const alsoRunning = second.run.start();
    await deaf.write(started);
    second.run.stop();
    await vi.waitFor(() => expect(second.state).toMatchObject({ stopping: false, stopFailed: true }));
    second.run.close();
    await alsoRunning;
  });
});

it("says nothing more after close", async () => {
  const open = openStream();
  const stage = new Stage([open.reply]);
  const running = stage.run.start();
  await open.write(started);
  await vi.waitFor(() => expect(stage.state.runId).toBe("r1"));
  stage.run.close();
  const heard = stage.signals.length;
  await running;
  expect(stage.signals).toHaveLength(heard);
});
