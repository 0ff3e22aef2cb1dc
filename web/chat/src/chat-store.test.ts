import type { Signal, StartRequest, StreamEvent } from "@tokenwire/client";
import { answerText } from "@tokenwire/client";
import { describe, expect, it, vi } from "vitest";
import { type ChatRunOptions, ChatStore, type ChatStoreOptions } from "./chat-store.ts";

/** A page's store, with runs that the test plays and frames that the test draws. */
function stage(options: Partial<ChatStoreOptions> = {}) {
  const frames: (() => void)[] = [];
  const runs: { request: StartRequest; signal: (signal: Signal) => void; calls: string[] }[] = [];
  const openRun = (request: StartRequest, options: ChatRunOptions) => {
    const calls: string[] = [];
    runs.push({ request, signal: options.onSignal, calls });
    return {
      resume: () => void calls.push("resume"),
      stop: () => void calls.push("stop"),
    };
  };
  const store = new ChatStore({
    sessionId: "s",
    openRun,
    schedule: (callback) => void frames.push(callback),
    now: () => 0,
    ...options,
  });
  const draw = () => {
    for (const frame of frames.splice(0)) frame();
  };
  return { store, frames, runs, draw };
}

function event(fields: StreamEvent): Signal {
  return { kind: "event", event: fields, atMs: 1 };
}

const token = (content: string) => event({ type: "text_delta", content, tokens: 1, timestamp: 1 });
const done = event({
  type: "done",
  finalMessage: "",
  finalMessageOmitted: false,
  finishReason: "stop",
  timestamp: 1,
});

function failed(resumable: boolean): Signal {
  return { kind: "failed", failure: { code: "UNAVAILABLE", message: "Away.", retryable: true, resumable } };
}

describe("send", () => {
  it("asks once, in the page's session, without the blanks around", () => {
    const { store, runs } = stage();
    expect(store.send("  List three fruits.\n")).toBe(true);
    expect(runs.map(({ request }) => request)).toEqual([{ message: "List three fruits.", sessionId: "s" }]);
    expect(store.getChat()).toMatchObject({ running: true, turns: [{ question: "List three fruits." }] });
  });

  it("names the agent when the page has one", () => {
    const { store, runs } = stage({ agent: "portfolio" });
    store.send("one");
    expect(runs[0]?.request).toEqual({ message: "one", sessionId: "s", agent: "portfolio" });
  });

  it("asks nothing while a run goes on, and nothing empty", () => {
    const { store, runs } = stage();
    expect(store.send(" \n")).toBe(false);
    store.send("one");
    expect(store.send("two")).toBe(false);
    expect(runs).toHaveLength(1);
  });
});

it("tells the page of many tokens once per frame", () => {
  const { store, frames, runs, draw } = stage();
  store.send("one");
  const heard = vi.fn();
  store.subscribe(heard);
  for (const content of ["a", "b", "c"]) runs[0]?.signal(token(content));
  expect(heard).not.toHaveBeenCalled();
  expect(frames).toHaveLength(1);
  draw();
  expect(heard).toHaveBeenCalledTimes(1);
  const state = store.getChat().turns[0]?.state;
  expect(state && answerText(state)).toBe("abc");
});

it("keeps turns that did not change as they are, so that they are not drawn again", () => {
  const { store, runs, draw } = stage();
  store.send("one");
  runs[0]?.signal(done);
  draw();
  const first = store.getChat().turns[0];
  store.send("two");
  runs[1]?.signal(token("a"));
  draw();
  expect(store.getChat().turns[0]).toBe(first);
});

it("passes Stop on to the run that goes on", () => {
  const { store, runs } = stage();
  store.stop();
  store.send("one");
  store.stop();
  expect(runs[0]?.calls).toEqual(["stop"]);
});

describe("retry", () => {
  it("asks the same question anew, in the same place", () => {
    const { store, runs, draw } = stage();
    store.send("one");
    runs[0]?.signal(token("half"));
    runs[0]?.signal(failed(false));
    draw();
    store.retry(store.getChat().turns[0]?.id ?? "");
    expect(runs.map(({ request }) => request.message)).toEqual(["one", "one"]);
    expect(store.getChat().turns).toHaveLength(1);
    expect(store.getChat().turns[0]?.state.segments).toEqual([]);
  });

  it("takes a lost stream up again and asks nothing", () => {
    const { store, runs, draw } = stage();
    store.send("one");
    runs[0]?.signal(failed(true));
    draw();
    store.retry(store.getChat().turns[0]?.id ?? "");
    expect(runs).toHaveLength(1);
    expect(runs[0]?.calls).toEqual(["resume"]);
  });

  it("does nothing to an answer that did not fail, nor while another run goes on", () => {
    const { store, runs, draw } = stage();
    store.send("one");
    runs[0]?.signal(failed(false));
    store.send("two");
    draw();
    for (const turn of store.getChat().turns) store.retry(turn.id);
    expect(runs).toHaveLength(2);
  });
});
