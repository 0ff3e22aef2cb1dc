import { describe, expect, it, vi } from "vitest";
import {
  NETWORK_ERROR,
  Stage,
  cancelled,
  done,
  openStream,
  problem,
  started,
  stream,
  token,
  tries,
  type Reply,
} from "./scripted-server.ts";

describe("a refusal", () => {
  it("shows what the problem details say", async () => {
    const stage = new Stage(
      [
        problem(429, {
          title: "Too many",
          detail: "Wait a little.",
          code: "RESOURCE_EXHAUSTED",
          retryable: true,
        }),
      ],
      { retry: tries(0) },
    );
    await stage.start();
    expect(stage.requests).toHaveLength(1);
    expect(stage.state.outcome).toMatchObject({
      kind: "failed",
      failure: { code: "RESOURCE_EXHAUSTED", message: "Wait a little.", retryable: true, status: 429 },
    });
  });

  it("without problem details still has a code and a sentence", async () => {
    const stage = new Stage([() => new Response("<h1>Bad gateway</h1>", { status: 502 })], {
      retry: tries(0),
    });
    await stage.start();
    expect(stage.failureCode).toBe("HTTP_502");
  });

  it("is an answer of 200 that is no event stream", async () => {
    const stage = new Stage([
      () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } }),
    ]);
    await stage.start();
    expect(stage.failureCode).toBe("HTTP_200");
  });

  it("is a server that can't be reached", async () => {
    const stage = new Stage([NETWORK_ERROR], { retry: tries(2) });
    await stage.start();
    expect(stage.state.outcome).toMatchObject({ failure: { code: "UNAVAILABLE", resumable: true } });
    expect(stage.requests).toHaveLength(3);
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
    const stage = new Stage(
      [noted(stream(started)), noted(open.reply), noted(stream(done(2, "", "cancelled")))],
      {
        headers,
      },
    );
    stage.cancels.push(noted(cancelled));
    const running = stage.start();
    await vi.waitFor(() => expect(stage.requests).toHaveLength(2));
    stage.run.stop();
    await running;
    expect(seen).toEqual(["Bearer 1", "Bearer 2", "Bearer 3", "Bearer 4"]);
  });

  it("never replace those of the protocol", async () => {
    const sent: Headers[] = [];
    const reply: Reply = (url, init) => {
      sent.push(new Headers(init.headers));
      return stream(started, done(2, "a"))(url, init);
    };
    const headers = { accept: "text/html", "content-type": "text/plain", "x-tenant": "a" };
    await new Stage([reply], { headers }, { idempotencyKey: "k" }).start();
    expect(Object.fromEntries(sent[0] ?? [])).toEqual({
      accept: "text/event-stream",
      "content-type": "application/json",
      "idempotency-key": "k",
      "x-tenant": "a",
    });
  });

  it("that can't be had fail like a connection", async () => {
    const stage = new Stage([stream(started)], { headers: () => Promise.reject(new Error("away")) });
    await stage.start();
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
    await stage.start();
    expect(stage.state.outcome).toMatchObject({ failure: { status: 401, resumable: true } });
    key = "new";
    await stage.resume();
    expect(stage.text).toBe("ab");
    expect(seen).toEqual(["old", "old", "new"]);
  });
});

describe("stop", () => {
  it("frees the stream's connection, cancels the run, and reads its end", async () => {
    const open = openStream();
    const stage = new Stage([open.reply, stream(token(3, " more"), done(4, "half more", "cancelled"))]);
    let wasFree = false;
    stage.cancels.push((url, init) => {
      wasFree = stage.sent[0]?.init.signal?.aborted === true;
      return cancelled(url, init);
    });
    const running = stage.start();
    await open.write(started + token(2, "half"));
    await vi.waitFor(() => expect(stage.text).toBe("half"));
    stage.run.stop();
    stage.run.stop();
    expect(stage.state.status).toBe("stopping");
    await running;
    expect(wasFree).toBe(true);
    expect(stage.requests.slice(1)).toEqual([
      { method: "POST", url: "/api/runs/r1/cancel", lastEventId: null },
      { method: "GET", url: "/api/runs/r1/events", lastEventId: "r1.1.2" },
    ]);
    expect(stage.text).toBe("half more");
    expect(stage.state).toMatchObject({ status: "stopped", connection: "closed" });
    expect(stage.state.outcome).toMatchObject({ kind: "done", finishReason: "cancelled" });
  });

  it("before the run has a name cancels it as soon as it has one", async () => {
    const open = openStream({});
    const stage = new Stage([open.reply, stream(done(2, "", "cancelled"))]);
    stage.cancels.push(cancelled);
    const running = stage.start();
    stage.run.stop();
    expect(stage.state.stopping).toBe(true);
    await open.write(": open\n\n");
    expect(stage.requests).toHaveLength(1);
    await open.write(started);
    await running;
    expect(stage.requests[1]?.url).toBe("/api/runs/r1/cancel");
    expect(stage.state.outcome).toMatchObject({ finishReason: "cancelled" });
  });

  it("is what an aborted signal means, before the start and after it", async () => {
    const never = new Stage([], {}, { signal: AbortSignal.abort() });
    await never.start();
    expect(never.requests).toEqual([]);
    expect(never.run.status).toBe("stopped");

    const open = openStream();
    const aborting = new AbortController();
    const stage = new Stage([open.reply, stream(done(2, "", "cancelled"))], {}, { signal: aborting.signal });
    stage.cancels.push(cancelled);
    const running = stage.start();
    await open.write(started);
    aborting.abort();
    await running;
    expect(stage.requests.map(({ url }) => url)).toEqual([
      "/api/chat",
      "/api/runs/r1/cancel",
      "/api/runs/r1/events",
    ]);
  });

  it("of a message that was refused so far gives it up: there is no run", async () => {
    const busy = problem(429, { code: "RESOURCE_EXHAUSTED", retryable: true });
    const stage = new Stage([busy], { retry: { delaysMs: [60_000] } });
    const running = stage.start();
    await vi.waitFor(() => expect(stage.state.trouble?.code).toBe("RESOURCE_EXHAUSTED"));
    stage.run.stop();
    await running;
    expect(stage.run.status).toBe("stopped");
    expect(stage.requests).toHaveLength(1);
  });

  it("tries again when the network fails, and says so when it never gets through", async () => {
    const open = openStream();
    const stage = new Stage([open.reply, stream(done(2, "", "cancelled"))]);
    stage.cancels.push(NETWORK_ERROR, cancelled);
    const running = stage.start();
    await open.write(started);
    stage.run.stop();
    await running;
    expect(stage.cancels).toHaveLength(0);
    expect(stage.signals.map(({ kind }) => kind)).not.toContain("stop_failed");

    const deaf = openStream();
    const goesOn = openStream();
    const second = new Stage([deaf.reply, goesOn.reply], { retry: tries(2) });
    const alsoRunning = second.start();
    await deaf.write(started);
    second.run.stop();
    await vi.waitFor(() => expect(second.state).toMatchObject({ stopping: false, stopFailed: true }));
    await vi.waitFor(() => expect(second.state.connection).toBe("connected"));
    second.run.leave();
    await alsoRunning;
  });
});

describe("leaving", () => {
  it("closes the connection, stops nothing, and says nothing more", async () => {
    const open = openStream();
    const stage = new Stage([open.reply]);
    const running = stage.start();
    await open.write(started);
    await vi.waitFor(() => expect(stage.state.runId).toBe("r1"));
    stage.run.leave();
    expect(stage.signals.at(-1)).toEqual({ kind: "left" });
    expect(stage.run.connection).toBe("closed");
    const heard = stage.signals.length;
    await running;
    expect(stage.signals).toHaveLength(heard);
    expect(stage.sent[0]?.init.signal?.aborted).toBe(true);
    expect(stage.requests).toHaveLength(1);
    expect(stage.browser.listeners.size).toBe(0);
  });
});
