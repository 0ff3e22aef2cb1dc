import { afterEach, describe, expect, it, vi } from "vitest";
import { TokenwireClient } from "./client.ts";
import { ScriptedEdge } from "./scripted-edge.ts";
import { ScriptedBrowser, tries } from "./scripted-server.ts";
import { retainSession, type Session, type SessionOptions } from "./session.ts";
import { SessionStore } from "./session-store.ts";
import { answerText } from "./stream-state.ts";

const sessions: Session[] = [];

afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});

function stage(edge = new ScriptedEdge(), options: Partial<SessionOptions> = {}) {
  const client = new TokenwireClient({ fetch: edge.fetch, retry: tries(3) }, new ScriptedBrowser());
  const session = new SessionStore(client, { sessionId: "s", pacing: "immediate", ...options }, undefined);
  sessions.push(session);
  return { edge, client, session };
}

const texts = (session: Session) => session.getSnapshot().turns.map(({ run }) => answerText(run));
const messages = (session: Session) => session.getSnapshot().turns.map(({ message }) => message);

function networkError(): never {
  throw new TypeError("fetch failed");
}

/** Wait until the newest turn is in a state. */
function becomes(session: Session, status: string): Promise<void> {
  return vi.waitFor(() => expect(session.getSnapshot().status).toBe(status));
}

async function say(edge: ScriptedEdge, session: Session, message: string, answer: string): Promise<void> {
  session.send(message);
  await vi.waitFor(() => expect(edge.run.message).toBe(message));
  edge.run.say(answer);
  edge.run.finish();
  await becomes(session, "done");
}

describe("send", () => {
  it("shows the message at once and the answer as it comes", async () => {
    const { edge, session } = stage();
    expect(session.getSnapshot()).toMatchObject({ status: "idle", connection: "closed", running: false });
    session.send("  one ");
    expect(session.getSnapshot()).toMatchObject({ status: "submitted", running: true });
    expect(messages(session)).toEqual(["one"]);
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.say("a");
    await becomes(session, "streaming");
    edge.run.say("b");
    edge.run.finish();
    await becomes(session, "done");
    expect(texts(session)).toEqual(["ab"]);
    expect(session.getSnapshot().running).toBe(false);
  });

  it("asks for stamps for as long as they are wanted", async () => {
    const edge = new ScriptedEdge();
    const queries: string[] = [];
    const { fetch } = edge;
    Object.assign(edge, {
      fetch: (url: string, init?: RequestInit) => {
        queries.push(new URL(url, "http://edge").search);
        return fetch(url, init);
      },
    });
    let wanted = false;
    const { session } = stage(edge, { timing: () => wanted });
    await say(edge, session, "one", "a");
    wanted = true;
    await say(edge, session, "two", "b");
    expect(queries).toEqual(["", "?timing=1"]);
  });

  it("says nothing empty, and nothing while a run goes on", () => {
    const { session } = stage();
    expect(session.send(" ")).toBeUndefined();
    expect(session.send("one")).toBeDefined();
    expect(session.send("two")).toBeUndefined();
  });

  it("keeps turns that did not change as they are, and their ids", async () => {
    const { edge, session } = stage();
    await say(edge, session, "one", "a");
    const [first] = session.getSnapshot().turns;
    await say(edge, session, "two", "b");
    expect(session.getSnapshot().turns[0]).toBe(first);
    expect(new Set(session.getSnapshot().turns.map(({ id }) => id)).size).toBe(2);
  });
});

describe("the snapshot", () => {
  it("changes with a notification, and only with one", async () => {
    const { edge, session } = stage(new ScriptedEdge(), { pacing: "debounced" });
    let snapshot = session.getSnapshot();
    let unheard = 0;
    session.subscribe(() => {
      expect(session.getSnapshot()).not.toBe(snapshot);
      snapshot = session.getSnapshot();
    });
    session.listen(() => {
      if (session.getSnapshot() !== snapshot) unheard += 1;
    });
    await say(edge, session, "one", "a");
    expect(unheard).toBe(0);
    expect(session.getSnapshot()).toBe(snapshot);
  });

  it("comes less often than events do when it is paced, and is whole at the end", async () => {
    const { edge, session } = stage(new ScriptedEdge(), { pacing: "debounced" });
    const heard = vi.fn();
    let signals = 0;
    session.subscribe(heard);
    session.listen(() => (signals += 1));
    session.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    for (let token = 0; token < 100; token += 1) edge.run.say("x");
    edge.run.finish();
    await becomes(session, "done");
    expect(texts(session)).toEqual(["x".repeat(100)]);
    expect(signals).toBeGreaterThan(100);
    expect(heard.mock.calls.length).toBeLessThan(20);
  });
});

describe("load", () => {
  it("shows the turns of before and goes on with the live one", async () => {
    const { edge, session } = stage();
    await say(edge, session, "one", "a");
    session.send("two");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(2));
    edge.run.say("b");

    const after = stage(edge).session;
    await after.load();
    expect(after.getSnapshot().history).toBe("loaded");
    expect(messages(after)).toEqual(["one", "two"]);
    await vi.waitFor(() => expect(texts(after)).toEqual(["a", "b"]));
    edge.run.say("c");
    edge.run.finish();
    await becomes(after, "done");
    expect(texts(after)).toEqual(["a", "bc"]);
    expect(edge.count("POST /api/chat")).toBe(2);
  });

  it("shows the newest turns, oldest first, from as many pages as it takes", async () => {
    const { edge, session } = stage();
    for (const message of ["1", "2", "3", "4", "5"]) await say(edge, session, message, message);
    const all = stage(edge).session;
    await all.load();
    expect(texts(all)).toEqual(["1", "2", "3", "4", "5"]);
    const some = stage(edge, { maxTurns: 4 }).session;
    await some.load();
    expect(messages(some)).toEqual(["2", "3", "4", "5"]);
  });

  it("reads an answer that is too long for the transcript from its run", async () => {
    const { edge, session } = stage();
    await say(edge, session, "one", "a");
    edge.tooLong = true;
    const after = stage(edge).session;
    await after.load();
    await vi.waitFor(() => expect(texts(after)).toEqual(["a"]));
    expect(after.getSnapshot()).toMatchObject({ status: "done", running: false });
  });

  it("is done once, however often it is asked for", async () => {
    const { edge, session } = stage();
    await Promise.all([session.load(), session.load()]);
    await session.load();
    expect(edge.count("GET /api/sessions/s/transcript")).toBe(1);
  });

  it("does not double what was said meanwhile", async () => {
    const { edge, session } = stage();
    session.send("one");
    await vi.waitFor(() => expect(session.getSnapshot().turns[0]?.runId).toBe("r1"));
    await session.load();
    expect(messages(session)).toEqual(["one"]);
    edge.run.finish();
    await becomes(session, "done");
  });

  it("does not double what was said while the transcript was on its way", async () => {
    const { edge, session } = stage();
    const answers: (() => void)[] = [];
    const held = stage(
      Object.assign(edge, {
        fetch: ((fetch) => async (input: string, init?: RequestInit) => {
          const response = await fetch(input, init);
          if (input.endsWith("/chat")) await new Promise<void>((resolve) => answers.push(resolve));
          return response;
        })(edge.fetch) as typeof edge.fetch,
      }),
    ).session;
    session.close();
    held.send("one");
    await vi.waitFor(() => expect(answers).toHaveLength(1));
    await held.load();
    expect(messages(held)).toEqual(["one", "one"]);
    answers[0]?.();
    await vi.waitFor(() => expect(messages(held)).toEqual(["one"]));
    edge.run.say("a");
    edge.run.finish();
    await becomes(held, "done");
    expect(texts(held)).toEqual(["a"]);
  });

  it("tries again when it is refused for now, says so when it is for good, and can be asked for again", async () => {
    const { edge, session } = stage();
    edge.refusals.push(() => Response.json({ code: "UNAVAILABLE" }, { status: 503 }));
    await session.load();
    expect(session.getSnapshot().history).toBe("loaded");

    const refused = stage(edge).session;
    edge.refusals.push(() => Response.json({ code: "PERMISSION_DENIED" }, { status: 403 }));
    await refused.load();
    expect(refused.getSnapshot()).toMatchObject({ history: "failed", historyFailure: { status: 403 } });
    await refused.load();
    expect(refused.getSnapshot().history).toBe("loaded");
  });
});

describe("stop, retry and regenerate", () => {
  it("stop ends the run and keeps the text", async () => {
    const { edge, session } = stage();
    session.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.say("half");
    await becomes(session, "streaming");
    session.stop();
    expect(session.getSnapshot().status).toBe("stopping");
    await becomes(session, "stopped");
    expect(texts(session)).toEqual(["half"]);
    expect(edge.count("POST /api/runs/r1/cancel")).toBe(1);
  });

  it("retry takes a lost run up again", async () => {
    const { edge, session } = stage();
    session.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.say("a");
    await becomes(session, "streaming");
    for (let attempt = 0; attempt < 4; attempt += 1) edge.refusals.push(networkError);
    edge.run.cut();
    await becomes(session, "failed");
    expect(session.getSnapshot().connection).toBe("disconnected");
    expect(session.retry()).toBe(true);
    edge.run.say("b");
    edge.run.finish();
    await becomes(session, "done");
    expect(texts(session)).toEqual(["ab"]);
    expect(edge.runs).toHaveLength(1);
  });

  it("a run that was given up goes on when the server says that it does", async () => {
    const { edge, session } = stage();
    session.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.say("a");
    await becomes(session, "streaming");
    for (let attempt = 0; attempt < 4; attempt += 1) edge.refusals.push(networkError);
    edge.run.cut();
    await becomes(session, "failed");
    session.send("two");
    await vi.waitFor(() => expect(session.getSnapshot().unsent).toBe("two"));
    edge.run.say("b");
    edge.run.finish();
    await becomes(session, "done");
    expect(messages(session)).toEqual(["one"]);
    expect(texts(session)).toEqual(["ab"]);
  });

  it("retry says the same anew, in the same place, when the run itself failed", async () => {
    const { edge, session } = stage();
    const id = session.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.add({ type: "error", code: "INTERNAL", message: "Failed." });
    await becomes(session, "failed");
    expect(session.retry()).toBe(true);
    await vi.waitFor(() => expect(edge.runs).toHaveLength(2));
    edge.run.say("a");
    edge.run.finish();
    await becomes(session, "done");
    expect(session.getSnapshot().turns.map((turn) => turn.id)).toEqual([id]);
    expect(texts(session)).toEqual(["a"]);
  });

  it("retry does nothing to what did not fail", async () => {
    const { edge, session } = stage();
    expect(session.retry()).toBe(false);
    await say(edge, session, "one", "a");
    expect(session.retry()).toBe(false);
  });

  it("regenerate says the same once more, as a new turn", async () => {
    const { edge, session } = stage();
    await say(edge, session, "one", "a");
    session.regenerate();
    await vi.waitFor(() => expect(edge.runs).toHaveLength(2));
    expect(messages(session)).toEqual(["one", "one"]);
  });
});

it("shows another run that the session is busy with, with its own message, and keeps what was not sent", async () => {
  const { edge, session } = stage();
  session.send("theirs");
  await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
  const second = stage(edge).session;
  second.send("mine");
  await vi.waitFor(() => expect(messages(second)).toEqual(["theirs"]));
  expect(second.getSnapshot().unsent).toBe("mine");
  edge.run.say("a");
  edge.run.finish();
  await becomes(second, "done");
  expect(texts(second)).toEqual(["a"]);
  second.send("mine");
  expect(second.getSnapshot().unsent).toBeUndefined();
});

it("leaves its runs when it is closed, stops none, and says nothing more", async () => {
  const { edge, session } = stage();
  session.send("one");
  await vi.waitFor(() => expect(edge.run.readers.size).toBe(1));
  const heard = vi.fn();
  session.subscribe(heard);
  session.close();
  expect(edge.run.readers.size).toBe(0);
  expect(edge.requests).toEqual(["POST /api/chat"]);
  expect(heard).not.toHaveBeenCalled();
  expect(session.send("two")).toBeUndefined();
});

describe("a session that is shared", () => {
  it("is one for all users, and closes soon after the last has gone", async () => {
    vi.useFakeTimers();
    try {
      const { client } = stage();
      const first = retainSession(client, { sessionId: "s" });
      const second = retainSession(client, { sessionId: "s" });
      expect(second.session).toBe(first.session);
      expect(retainSession(client, { sessionId: "other" }).session).not.toBe(first.session);
      first.release();
      first.release();
      vi.advanceTimersByTime(10_000);
      expect(retainSession(client, { sessionId: "s" }).session).toBe(first.session);
      second.release();
    } finally {
      vi.useRealTimers();
    }
  });

  it("survives that its only user goes and comes again at once", () => {
    vi.useFakeTimers();
    try {
      const { client } = stage();
      const first = retainSession(client, { sessionId: "s" });
      first.release();
      const again = retainSession(client, { sessionId: "s" });
      vi.advanceTimersByTime(10_000);
      expect(again.session).toBe(first.session);
      expect(again.session.send("one")).toBeDefined();
      again.release();
      vi.advanceTimersByTime(10_000);
      expect(again.session.send("two")).toBeUndefined();
      expect(retainSession(client, { sessionId: "s" }).session).not.toBe(first.session);
      expect(vi.getTimerCount()).toBe(0);
      client.close();
    } finally {
      vi.useRealTimers();
    }
  });
});
