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
  type Reply,
} from "./scripted-server.ts";

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
