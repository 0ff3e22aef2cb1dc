import { act, cleanup, render, renderHook } from "@testing-library/react";
import { StrictMode } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ScriptedClient } from "../scripted-client.ts";
import { AgentClientContext } from "./client-context.ts";
import { useAgentStream, type UseAgentStreamOptions } from "./use-agent-stream.ts";

let client: ScriptedClient;

beforeEach(() => {
  vi.useFakeTimers();
  // No other tabs, and no waiting for them.
  vi.stubGlobal("BroadcastChannel", undefined);
  client = new ScriptedClient();
});

afterEach(() => {
  cleanup();
  vi.runOnlyPendingTimers();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function attach(options: Partial<UseAgentStreamOptions> = {}, wrapper = StrictMode) {
  return renderHook(() => useAgentStream({ sessionId: "s", client, pacing: "immediate", ...options }), {
    wrapper,
  }).result;
}

const settle = () => act(() => vi.advanceTimersByTimeAsync(0));

describe("a message", () => {
  it("is shown at once, and its answer as it grows", async () => {
    const hook = attach({ agent: "portfolio" });
    await settle();
    let sent: boolean | undefined;
    act(() => void hook.current.sendMessage(" hello ").then((value) => (sent = value)));
    expect(client.run.request).toMatchObject({ message: "hello", sessionId: "s", agent: "portfolio" });
    expect(hook.current.messages.map(({ role, content }) => [role, content])).toEqual([
      ["user", "hello"],
      ["assistant", ""],
    ]);
    expect([hook.current.status, hook.current.isLoading]).toEqual(["submitted", true]);
    act(() => client.run.write("one "));
    act(() => client.run.write("two"));
    expect(hook.current.messages[1]?.content).toBe("one two");
    expect(hook.current.messages[0]?.timestamp).toBeInstanceOf(Date);
    expect(sent).toBeUndefined();
    act(() => client.run.done("one two"));
    await settle();
    expect([hook.current.status, hook.current.isLoading, sent]).toEqual(["done", false, true]);
  });

  it.each([undefined, "cancel"] as const)("says what becomes of its run: onDisconnect %s", async (said) => {
    const hook = attach({ onDisconnect: said });
    await settle();
    act(() => void hook.current.sendMessage("one"));
    expect(client.run.request?.onDisconnect).toBe(said ?? "continue");
  });

  it("is not sent when it is empty, or while a run goes on", async () => {
    const hook = attach();
    await settle();
    await expect(hook.current.sendMessage("  ")).resolves.toBe(false);
    act(() => void hook.current.sendMessage("one"));
    await expect(hook.current.sendMessage("two")).resolves.toBe(false);
    expect(client.runs).toHaveLength(1);
  });

  it("keeps all that has not changed as the same object", async () => {
    const hook = attach();
    await settle();
    act(() => void hook.current.sendMessage("one"));
    act(() => client.run.write("a"));
    const before = hook.current;
    act(() => client.run.write("b"));
    expect(hook.current.messages[0]).not.toBe(undefined);
    expect(hook.current.messages).not.toBe(before.messages);
    expect(hook.current.abort).toBe(before.abort);
    expect(hook.current.sendMessage).toBe(before.sendMessage);
    act(() => client.run.done("ab"));
    act(() => void hook.current.sendMessage("two"));
    const first = hook.current.messages[1];
    act(() => client.run.write("c"));
    expect(hook.current.messages[1]).toBe(first);
  });
});

it("tells progress and tools, and calls back with each step", async () => {
  const onProgress = vi.fn();
  const hook = attach({ onProgress });
  await settle();
  expect(hook.current.progress).toEqual({ percent: 0, message: "" });
  act(() => void hook.current.sendMessage("one"));
  act(() => client.run.tell({ type: "progress", percent: 45, message: "Calculating" }));
  act(() => client.run.tell({ type: "progress", message: "Validating" }));
  act(() => client.run.tell({ type: "tool_start", callId: "c", tool: "query", args: {} }));
  expect(hook.current.progress).toEqual({ percent: 0, message: "Validating" });
  expect(hook.current.tools.map(({ tool }) => tool)).toEqual(["query"]);
  expect(onProgress.mock.calls).toEqual([
    [45, "Calculating"],
    [45, "Validating"],
  ]);
});

it("tells an error once, and retries in the same place", async () => {
  const onError = vi.fn();
  const hook = attach({ onError });
  await settle();
  act(() => void hook.current.sendMessage("one"));
  act(() =>
    client.run.tell({ type: "error", code: "UNAVAILABLE", message: "Busy.", retryable: true, details: {} }),
  );
  expect(hook.current.error).toBeInstanceOf(Error);
  expect(hook.current.error).toMatchObject({ message: "Busy.", code: "UNAVAILABLE" });
  expect(onError.mock.calls).toEqual([[hook.current.error]]);
  act(() => void hook.current.retry());
  expect(client.runs).toHaveLength(2);
  expect(hook.current.messages).toHaveLength(2);
  expect(hook.current.error).toBeNull();
});

it("abort stops the run, and unmounting does not", async () => {
  const { result, unmount } = renderHook(() =>
    useAgentStream({ sessionId: "s", client, pacing: "immediate" }),
  );
  await settle();
  act(() => void result.current.sendMessage("one"));
  unmount();
  vi.advanceTimersByTime(5_000);
  expect(client.run.calls).toEqual(["leave"]);
  const hook = attach();
  await settle();
  act(() => void hook.current.sendMessage("two"));
  act(() => hook.current.abort());
  expect(client.run.calls).toEqual(["stop"]);
  expect(hook.current.status).toBe("stopping");
});

describe("hooks of one session", () => {
  it("share its messages and its stream", async () => {
    const one = attach();
    const other = attach();
    await settle();
    act(() => void one.current.sendMessage("one"));
    act(() => client.run.write("a"));
    expect(other.current.messages).toEqual(one.current.messages);
    expect(other.current.snapshot).toBe(one.current.snapshot);
    expect(client.runs).toHaveLength(1);
  });

  it("load the turns of before once, and follow the run that goes on", async () => {
    const turn = { runId: "r1", message: "before", first: null, last: null, createTime: null };
    const ended = { ...turn, runId: "r0", state: "ended", terminal: null, text: "yes" };
    const page = vi.fn(() =>
      Promise.resolve({
        turns: [{ ...turn, state: "running", terminal: null, text: null }, ended],
        nextPageToken: "",
      }),
    );
    // Asked for newest first, so that a long session has its end.
    client.page = page;
    const hook = attach();
    attach();
    await settle();
    expect(page).toHaveBeenCalledTimes(1);
    expect(hook.current.messages.map(({ content }) => content)).toEqual(["before", "yes", "before", ""]);
    expect(client.runs.map(({ runId }) => runId)).toEqual(["r1"]);
    act(() => client.run.write("live"));
    expect(hook.current.messages.at(-1)?.content).toBe("live");
  });

  it("take the client of their context", async () => {
    const { result } = renderHook(() => useAgentStream({ sessionId: "s" }), {
      wrapper: ({ children }) => <AgentClientContext value={client}>{children}</AgentClientContext>,
    });
    await settle();
    act(() => void result.current.sendMessage("one"));
    expect(client.runs).toHaveLength(1);
  });
});

it("works where there is no browser: nothing is asked for on a server", () => {
  const Page = () => <p>{useAgentStream({ sessionId: "s" }).status}</p>;
  expect(renderToString(<Page />)).toBe("<p>idle</p>");
});

it("renders only with a notification", async () => {
  let renders = 0;
  const Page = () => {
    useAgentStream({ sessionId: "s", client, pacing: "immediate" });
    renders += 1;
    return null;
  };
  render(<Page />);
  await settle();
  const before = renders;
  await act(() => vi.advanceTimersByTimeAsync(10_000));
  expect(renders).toBe(before);
});
