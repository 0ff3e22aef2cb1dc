import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { RequestFailed } from "@tokenwire/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ScriptedClient } from "../../packages/react/src/scripted-client.ts";
import { ApiKey } from "./api-key.ts";
import { App } from "./app.tsx";
import { Conversations } from "./conversations.ts";
import { LatencySwitch } from "./latency/latency-switch.ts";

let client: ScriptedClient;
let apiKey: ApiKey;
let conversations: Conversations;

beforeEach(() => {
  vi.useFakeTimers();
  // No other tabs, and no waiting for them.
  vi.stubGlobal("BroadcastChannel", undefined);
  client = new ScriptedClient();
  apiKey = new ApiKey(undefined);
  conversations = new Conversations(undefined);
});

afterEach(() => {
  cleanup();
  vi.runOnlyPendingTimers();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  history.replaceState(null, "", "/");
});

async function open({ agent, isKnown = false }: { agent?: string; isKnown?: boolean } = {}) {
  render(
    <App
      client={client}
      apiKey={apiKey}
      conversations={conversations}
      latency={new LatencySwitch(undefined)}
      sessionId="s-1"
      isKnown={isKnown}
      agent={agent}
    />,
  );
  await pass();
}

/** Long enough for a frame. */
const pass = () => act(() => vi.advanceTimersByTimeAsync(500));

async function say(play: () => void) {
  act(play);
  await pass();
}

async function ask(question: string) {
  const box = screen.getByTestId("question");
  fireEvent.change(box, { target: { value: question } });
  fireEvent.keyDown(box, { key: "Enter" });
  await pass();
}

const shown = (id: string) => screen.getByTestId(id).textContent;

describe("the page's address", () => {
  it("names the agent, which is asked and whose examples are shown", async () => {
    await open({ agent: "portfolio" });
    expect(shown("agent")).toBe("Agent: portfolio");
    expect(screen.queryByText("List three fruits.")).toBeNull();
    fireEvent.click(screen.getByText("Calculate NAV for all portfolios"));
    expect(client.run.request).toMatchObject({ agent: "portfolio", sessionId: "s-1" });
  });

  it("names the conversation from the first message on, and leads to a new one", async () => {
    history.replaceState(null, "", "/?agent=portfolio");
    await open({ agent: "portfolio" });
    expect(location.search).toBe("?agent=portfolio");
    await ask("one");
    expect(location.search).toBe("?agent=portfolio&session=s-1");
    expect(screen.getByTestId("new-chat").getAttribute("href")).toBe("./?agent=portfolio");
  });

  it("brings the messages of before back", async () => {
    const turn = { runId: "r", message: "before", state: "running", terminal: null, text: null };
    client.page = () =>
      Promise.resolve({ turns: [{ ...turn, first: null, last: null, createTime: null }], nextPageToken: "" });
    await open({ isKnown: true });
    expect(shown("turn-user")).toContain("before");
    await say(() => client.run.write("live"));
    expect(shown("answer")).toBe("live");
  });

  it("asks for no messages of before where there can be none", async () => {
    client.page = vi.fn(client.page);
    await open();
    expect(client.page).not.toHaveBeenCalled();
  });
});

describe("the list of conversations", () => {
  const titles = () => conversations.getList().map(({ title }) => title);

  it("has what was said here, by its first message, and leads back to it", async () => {
    await open({ agent: "portfolio" });
    expect(titles()).toEqual([]);
    await ask("one");
    await say(() => client.run.done("a"));
    await ask("two");
    expect(titles()).toEqual(["one"]);
    fireEvent.click(screen.getByTestId("conversations"));
    const link = within(screen.getByTestId("conversation-list")).getByRole("link", { name: /^one/ });
    expect(link.getAttribute("href")).toBe("./?agent=portfolio&session=s-1");
    expect(link.getAttribute("aria-current")).toBe("page");
  });

  it("does not have what was only looked at", async () => {
    const turn = { runId: "r", message: "before", state: "ended", terminal: null, text: "yes" };
    client.page = () =>
      Promise.resolve({ turns: [{ ...turn, first: null, last: null, createTime: null }], nextPageToken: "" });
    await open({ isKnown: true });
    expect(titles()).toEqual([]);
    await ask("more");
    expect(titles()).toEqual(["before"]);
  });

  it("loses what is removed, and the focus is not lost with it", async () => {
    await open();
    await ask("one");
    fireEvent.click(screen.getByTestId("conversations"));
    fireEvent.click(screen.getByRole("button", { name: "Remove from the list: one" }));
    expect(titles()).toEqual([]);
    expect(document.activeElement?.getAttribute("aria-label")).toBe("Close the list");
    expect(screen.getByText("Removed: one")).not.toBeNull();
  });

  it("says of a conversation that the server does not know (any more) that it is empty", async () => {
    await open({ isKnown: true });
    expect(screen.getByText(/has no messages of this conversation/)).not.toBeNull();
  });
});

it("an answer has a footer with tokens, time to the first, rate and model, measured here", async () => {
  await open();
  const started = performance.now();
  await ask("one");
  act(() => client.run.tell({ type: "run_started", runId: "r", agent: "a", model: "small-1" }));
  for (const atMs of [240, 1240, 2240]) act(() => client.run.write("a", started + atMs));
  expect(screen.queryByTestId("footer")).toBeNull();
  await say(() => client.run.done("aaa"));
  const facts = Array.from(screen.getByTestId("footer").children, (fact) => fact.textContent);
  expect(facts).toEqual(["3 tokens", "first after 240 ms", "1 tokens/s", "small-1"]);
});

describe("a server that wants a key", () => {
  const FAILURE = {
    code: "UNAUTHENTICATED",
    message: "No.",
    retryable: false,
    resumable: false,
    status: 401,
  };
  const refuse = (failure = FAILURE) => say(() => client.run.say({ kind: "failed", failure }));
  const enter = async (key: string) => {
    fireEvent.change(screen.getByTestId("api-key"), { target: { value: key } });
    fireEvent.click(screen.getByTestId("api-key-use"));
    await pass();
  };

  it("gets it, with the question that was refused, once", async () => {
    await open();
    await ask("one");
    await refuse();
    expect(screen.getByLabelText<HTMLInputElement>("This server wants an API key").type).toBe("password");
    expect(screen.queryByTestId("error")).toBeNull();
    expect(shown("turn-assistant")).toContain("Waits for an API key");
    await enter(" secret ");
    expect(client.runs.map(({ request }) => request?.message)).toEqual(["one", "one"]);
    expect(screen.getAllByTestId("turn-user")).toHaveLength(1);
    expect(apiKey.headers()).toEqual({ Authorization: "Bearer secret" });
    expect(screen.queryByTestId("api-key")).toBeNull();
    await say(() => client.run.write("a"));
    expect(shown("answer")).toBe("a");
  });

  it("asks again for a wrong one, and says so", async () => {
    await open();
    await ask("one");
    await refuse();
    await enter("wrong");
    await refuse();
    expect(screen.getByRole("alert").textContent).toContain("did not accept this key");
    expect(screen.getByTestId<HTMLInputElement>("api-key").value).toBe("");
  });

  it("is sent nothing that can't stand in a header", async () => {
    await open();
    await ask("one");
    await refuse();
    await enter("kéy");
    expect(screen.getByRole("alert").textContent).toContain("no blanks");
    expect(client.runs).toHaveLength(1);
  });

  it("keeps what is typed meanwhile, and takes the stream up again where it was refused", async () => {
    await open();
    await ask("one");
    fireEvent.change(screen.getByTestId("question"), { target: { value: "two" } });
    await refuse({ ...FAILURE, retryable: true, resumable: true });
    expect(shown("connection")).toBe("");
    await enter("secret");
    expect(client.run.calls).toEqual(["resume"]);
    expect(screen.getByTestId<HTMLTextAreaElement>("question").value).toBe("two");
  });

  it("gets it before it tells the messages of before", async () => {
    const turn = { runId: "r", message: "before", state: "ended", terminal: null, text: "yes" };
    client.page = () => Promise.reject(new RequestFailed(FAILURE));
    await open({ isKnown: true });
    client.page = () =>
      Promise.resolve({ turns: [{ ...turn, first: null, last: null, createTime: null }], nextPageToken: "" });
    await enter("secret");
    expect(shown("answer")).toBe("yes");
  });

  it("is not an agent that fails for want of a key of its own", async () => {
    await open();
    await ask("one");
    await say(() =>
      client.run.tell({
        type: "error",
        code: "UNAUTHENTICATED",
        message: "Mine.",
        retryable: false,
        details: {},
      }),
    );
    expect(screen.queryByTestId("api-key")).toBeNull();
    expect(shown("error")).toContain("Mine.");
  });

  it("can be told no more: the key is forgotten on demand", async () => {
    await open();
    await ask("one");
    await refuse();
    await enter("secret");
    fireEvent.click(screen.getByTestId("api-key-forget"));
    expect(apiKey.headers()).toEqual({});
    expect(screen.queryByTestId("api-key-forget")).toBeNull();
    expect(conversations.getList()).toEqual([]);
  });
});

it("says what the connection does, and never Ready when it was given up", async () => {
  await open();
  expect(shown("status")).toBe("Ready");
  await ask("one");
  expect(shown("status")).toBe("Connecting");
  await say(() => client.run.say({ kind: "opened", runId: "r", traceId: undefined }));
  expect(shown("status")).toBe("Streaming");
  await say(() => client.run.say({ kind: "reconnecting", attempt: 2 }));
  expect(shown("status")).toBe("Reconnecting, try 2");
  const failure = { code: "CONNECTION_LOST", message: "Lost.", retryable: true, resumable: true };
  await say(() => client.run.say({ kind: "failed", failure }));
  expect(shown("status")).toBe("Disconnected");
  fireEvent.click(screen.getByTestId("retry"));
  await say(() => client.run.write("a"));
  expect(shown("status")).toBe("Streaming");
  await say(() => client.run.done("a"));
  expect(shown("status")).toBe("Ready");
});
