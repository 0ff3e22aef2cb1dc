import { afterEach, describe, expect, it, vi } from "vitest";
import { TokenwireClient } from "./client.ts";
import { ScriptedEdge } from "./scripted-edge.ts";
import { ScriptedBrowser, tries } from "./scripted-server.ts";
import { ScriptedTabs } from "./scripted-tabs.ts";
import type { Session, SessionOptions } from "./session.ts";
import { SessionStore } from "./session-store.ts";
import { answerText } from "./stream-state.ts";

const sessions: Session[] = [];

afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});

/** Open one more tab of a browser. */
function tab(
  edge: ScriptedEdge,
  browser: ScriptedTabs | undefined,
  options: Partial<SessionOptions> = {},
): Session {
  const client = new TokenwireClient({ fetch: edge.fetch, retry: tries(3) }, new ScriptedBrowser());
  const session = new SessionStore(client, { sessionId: "s", pacing: "immediate", ...options }, browser);
  sessions.push(session);
  return session;
}

const texts = (session: Session) => session.getSnapshot().turns.map(({ run }) => answerText(run));
const messages = (session: Session) => session.getSnapshot().turns.map(({ message }) => message);
const status = (session: Session) => session.getSnapshot().status;

/** Wait until each of these tabs shows exactly these answers. */
async function show(tabs: readonly Session[], expected: readonly string[]): Promise<void> {
  await vi.waitFor(() => {
    for (const session of tabs) expect(texts(session)).toEqual(expected);
  });
}

/** Two tabs that are open, and a message said in the first. */
async function twoTabs() {
  const edge = new ScriptedEdge();
  const browser = new ScriptedTabs();
  const [first, second] = [tab(edge, browser), tab(edge, browser)];
  await Promise.all([first.load(), second.load()]);
  first.send("one");
  await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
  edge.run.say("a");
  await show([first, second], ["a"]);
  return { edge, browser, first, second };
}

describe("tabs of one browser", () => {
  it("show each other's messages and answers, by one stream", async () => {
    const { edge, browser, first, second } = await twoTabs();
    expect(edge.run.readers.size).toBe(1);
    expect(edge.count("GET /api/runs/r1/events")).toBe(0);
    expect(messages(second)).toEqual(["one"]);
    edge.run.say("b");
    edge.run.finish();
    await show([first, second], ["ab"]);
    await vi.waitFor(() => expect([status(first), status(second)]).toEqual(["done", "done"]));
    expect(edge.requests.filter((request) => /chat|events/.test(request))).toEqual(["POST /api/chat"]);
    first.close();
    second.close();
    expect(browser.open.size).toBe(0);
  });

  it("are told where what came before they joined ends", async () => {
    const { edge, browser, second } = await twoTabs();
    const third = tab(edge, browser);
    const heard: string[] = [];
    const opened = vi.fn();
    second.listen(({ kind }) => {
      if (kind === "opened") opened();
    });
    third.listen((signal) => {
      if (signal.kind === "event") heard.push(signal.event.type);
      if (signal.kind === "control") heard.push(signal.frame.control);
    });
    await third.load();
    await show([third], ["a"]);
    edge.run.say("b");
    await show([third], ["ab"]);
    expect(heard).toEqual(["run_started", "text_delta", "caught_up", "text_delta"]);
    expect(opened).not.toHaveBeenCalled();
  });

  it("go on without a gap or a duplicate when the one that reads goes", async () => {
    const { edge, first, second } = await twoTabs();
    const third = tab(edge, new ScriptedTabs());
    edge.run.say("b");
    await show([second], ["ab"]);
    first.close();
    edge.run.say("c");
    await show([second], ["abc"]);
    edge.run.say("d");
    edge.run.finish();
    await show([second], ["abcd"]);
    await vi.waitFor(() => expect(status(second)).toBe("done"));
    expect(edge.count("GET /api/runs/r1/events")).toBe(1);
    expect(edge.count("POST /api/chat")).toBe(1);
    third.close();
  });

  it("leave the report of a stream's times to the tab that reads it: no other has the token", async () => {
    const { edge, first, second } = await twoTabs();
    const tokensOf = (session: Session) => {
      const tokens: (string | undefined)[] = [];
      session.listen((signal) => signal.kind === "opened" && tokens.push(signal.timingToken));
      return tokens;
    };
    const [own, told] = [tokensOf(first), tokensOf(second)];
    edge.run.cut();
    await vi.waitFor(() => expect([own.length, told.length]).toEqual([1, 1]));
    expect([own, told]).toEqual([["t"], [undefined]]);
  });

  it("hand the reading on from tab to tab, each at its own cursor", async () => {
    const { edge, browser, first, second } = await twoTabs();
    const later = [tab(edge, browser), tab(edge, browser), tab(edge, browser)];
    let text = "a";
    const open = [first, second, ...later];
    await Promise.all(later.map((session) => session.load()));
    while (open.length > 1) {
      for (const piece of ["x", "y"]) {
        text += piece;
        edge.run.say(piece);
      }
      await show(open, [text]);
      expect(edge.run.readers.size).toBe(1);
      open.shift()?.close();
    }
    edge.run.finish();
    await vi.waitFor(() => expect(status(open[0] ?? first)).toBe("done"));
    await show(open, [text]);
    expect(edge.runs).toHaveLength(1);
  });

  it("that come late are told what was said before, by the tab that reads", async () => {
    const { edge, browser } = await twoTabs();
    const late = tab(edge, browser);
    await late.load();
    await show([late], ["a"]);
    edge.run.say("b");
    await show([late], ["ab"]);
    expect(edge.run.readers.size).toBe(1);
    expect(edge.count("GET /api/runs/r1/events")).toBe(0);
  });

  it("can each press Stop: the one that reads frees its connection first", async () => {
    const { edge, first, second } = await twoTabs();
    let readers: number | undefined;
    edge.refusals.push(() => {
      readers = edge.run.readers.size;
      throw new TypeError("fetch failed");
    });
    second.stop();
    expect(status(second)).toBe("stopping");
    await vi.waitFor(() => expect([status(first), status(second)]).toEqual(["stopped", "stopped"]));
    expect(readers).toBe(0);
    expect(texts(second)).toEqual(["a"]);
  });

  it("stop the run though the one that reads goes before it has heard of it", async () => {
    const { edge, first, second } = await twoTabs();
    second.stop();
    first.close();
    await vi.waitFor(() => expect(status(second)).toBe("stopped"));
    expect(edge.count("POST /api/runs/r1/cancel")).toBe(1);
    expect(texts(second)).toEqual(["a"]);
  });

  it("know of a connection that is lost", async () => {
    const { edge, first, second } = await twoTabs();
    for (let attempt = 0; attempt < 2; attempt += 1) {
      edge.refusals.push(() => Response.json({ code: "UNAVAILABLE" }, { status: 503 }));
    }
    const seen = new Set<string>();
    second.listen((signal) => seen.add(signal.kind));
    edge.run.cut();
    await vi.waitFor(() => expect(seen).toContain("reconnecting"));
    edge.run.say("b");
    await show([first, second], ["ab"]);
    expect(second.getSnapshot().connection).toBe("connected");
  });

  it("are taken over from a tab that gave up", async () => {
    const { edge, first, second } = await twoTabs();
    for (let attempt = 0; attempt < 3; attempt += 1) {
      edge.refusals.push(() => Response.json({ code: "UNAVAILABLE" }, { status: 503 }));
    }
    edge.run.cut();
    await vi.waitFor(() => expect(status(first)).toBe("failed"));
    edge.run.say("b");
    await show([second], ["ab"]);
    expect(first.retry()).toBe(true);
    edge.run.say("c");
    edge.run.finish();
    await show([first, second], ["abc"]);
  });

  it("that say something at the same time start one run, which both show", async () => {
    const edge = new ScriptedEdge();
    const browser = new ScriptedTabs();
    const [first, second] = [tab(edge, browser), tab(edge, browser)];
    first.send("one");
    second.send("two");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.say("a");
    edge.run.finish();
    await show([first, second], ["a"]);
    await vi.waitFor(() => expect(messages(second)).toEqual(["one"]));
    expect(second.getSnapshot().unsent).toBe("two");
    expect(edge.runs).toHaveLength(1);
  });
});

describe("tabs that share nothing", () => {
  it.each([
    ["for their browser can't", undefined, {}],
    ["for they are told not to", new ScriptedTabs(), { share: false }],
  ])("read for themselves, %s", async (_, browser, options) => {
    const edge = new ScriptedEdge();
    const first = tab(edge, browser, options);
    first.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    const second = tab(edge, browser, options);
    await second.load();
    edge.run.say("a");
    await show([first, second], ["a"]);
    expect(edge.run.readers.size).toBe(2);
  });

  it("are those of different users", async () => {
    const edge = new ScriptedEdge();
    const browser = new ScriptedTabs();
    const mine = tab(edge, browser, { share: "ann" });
    const yours = tab(edge, browser, { share: "bob" });
    await Promise.all([mine.load(), yours.load()]);
    mine.send("one");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(1));
    edge.run.say("a");
    await show([mine], ["a"]);
    expect(messages(yours)).toEqual([]);
  });
});

it("a tab whose reader is frozen reads for itself", async () => {
  const { edge, browser } = await twoTabs();
  // A frozen tab keeps its lock and answers nothing.
  const name = [...browser.open].map((channel) => channel.name).find((one) => one.includes(":run:")) ?? "";
  expect(name).not.toBe("");
  const channels = [...browser.open].filter((channel) => channel.name === name);
  for (const channel of channels) channel.onmessage = null;
  const late = tab(edge, browser);
  await late.load();
  await vi.waitFor(() => expect(texts(late)).toEqual(["a"]), { timeout: 10_000 });
  expect(edge.count("GET /api/runs/r1/events")).toBe(1);
}, 20_000);
