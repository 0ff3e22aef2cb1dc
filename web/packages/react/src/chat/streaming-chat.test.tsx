import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ScriptedClient } from "../scripted-client.ts";
import { StreamingChat, type StreamingChatProps } from "./streaming-chat.tsx";

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

async function show(props: Partial<StreamingChatProps> = {}) {
  render(
    <StrictMode>
      <StreamingChat sessionId="s" client={client} pacing="immediate" {...props} />
    </StrictMode>,
  );
  await act(() => vi.advanceTimersByTimeAsync(0));
}

function ask(question: string) {
  const box = screen.getByTestId("question");
  fireEvent.change(box, { target: { value: question } });
  fireEvent.keyDown(box, { key: "Enter" });
}

const box = () => screen.getByTestId<HTMLTextAreaElement>("question");
const shown = (id: string) => screen.getByTestId(id).textContent;
const say = (play: () => void) => act(play);

describe("the input", () => {
  it("sends with Enter and is empty then", async () => {
    await show();
    ask("List three fruits.");
    expect(shown("turn-user")).toContain("List three fruits.");
    expect(box().value).toBe("");
  });

  it("does not send with Shift and Enter, nor while an input method composes", async () => {
    await show();
    fireEvent.change(box(), { target: { value: "a" } });
    fireEvent.keyDown(box(), { key: "Enter", shiftKey: true });
    fireEvent.keyDown(box(), { key: "Enter", isComposing: true });
    expect(screen.queryByTestId("turn-user")).toBeNull();
  });

  it("keeps what is typed while a run goes on", async () => {
    await show();
    ask("one");
    ask("two");
    expect(screen.getAllByTestId("turn-user")).toHaveLength(1);
    expect(box().value).toBe("two");
  });

  it("takes a message back that was not sent, since another tab's run went on", async () => {
    await show();
    ask("one");
    say(() => client.run.say({ kind: "joined", runId: "r9" }));
    expect(box().value).toBe("one");
  });

  it("gives way to what must be answered first, and keeps what was typed", async () => {
    const { rerender } = render(<StreamingChat sessionId="s" client={client} dock={<p>Sign in</p>} />);
    expect(screen.getByText("Sign in")).toBeTruthy();
    expect(box().form?.hidden).toBe(true);
    fireEvent.change(box(), { target: { value: "kept" } });
    rerender(<StreamingChat sessionId="s" client={client} />);
    expect(box().form?.hidden).toBe(false);
    expect(box().value).toBe("kept");
  });
});

it("begins with the examples of its agent", async () => {
  await show({ examples: ["Calculate NAV"], agent: "portfolio" });
  fireEvent.click(screen.getByText("Calculate NAV"));
  expect(client.run.request).toMatchObject({ message: "Calculate NAV", sessionId: "s", agent: "portfolio" });
  expect(screen.queryByText("Calculate NAV", { selector: "button" })).toBeNull();
});

describe("the answer", () => {
  it("is on its way until the first token, then grows", async () => {
    await show();
    ask("one");
    expect(screen.getByLabelText("The answer is on its way")).toBeTruthy();
    say(() => client.run.write("Apples"));
    expect(screen.queryByLabelText("The answer is on its way")).toBeNull();
    say(() => client.run.write(", **pears**"));
    expect(shown("answer")).toBe("Apples, pears");
  });

  it("is spoken when it is whole, not token by token", async () => {
    await show();
    ask("one");
    say(() => client.run.write("a"));
    expect(screen.getByTestId("answer").getAttribute("aria-busy")).toBe("true");
    say(() => client.run.done("a"));
    expect(screen.getByTestId("answer").getAttribute("aria-busy")).toBe("false");
  });

  it("can be copied exactly as the model wrote it, and asked for again", async () => {
    const writeText = vi.fn(() => Promise.resolve());
    vi.stubGlobal("navigator", { clipboard: { writeText } });
    await show();
    ask("one");
    say(() => client.run.write("**a**"));
    expect(screen.queryByTestId("copy")).toBeNull();
    say(() => client.run.done("**a**"));
    fireEvent.click(screen.getByTestId("copy"));
    await act(() => vi.advanceTimersByTimeAsync(0));
    expect(writeText).toHaveBeenCalledWith("**a**");
    expect(shown("copy")).toContain("Copied");
    fireEvent.click(screen.getByTestId("regenerate"));
    expect(client.runs.map(({ request }) => request?.message)).toEqual(["one", "one"]);
  });

  it("keeps its text when it is stopped, marked as such", async () => {
    await show();
    ask("one");
    say(() => client.run.write("half"));
    fireEvent.click(screen.getByTestId("stop"));
    expect(shown("stop")).toBe("Stopping");
    say(() => client.run.done("half", "cancelled"));
    expect(shown("answer")).toBe("half");
    expect(shown("turn-assistant")).toContain("Stopped");
    expect(screen.getByTestId("send")).toBeTruthy();
  });
});

describe("progress", () => {
  it("has a bar until it is complete, and is gone when the run has ended", async () => {
    await show();
    ask("one");
    say(() => client.run.tell({ type: "progress", percent: 45, message: "Calculating" }));
    expect(shown("progress")).toBe("Calculating45 %");
    expect(screen.getByLabelText<HTMLProgressElement>("Calculating").value).toBe(45);
    say(() => client.run.tell({ type: "progress", percent: 100, message: "Complete" }));
    expect(screen.getByTestId("progress").querySelector("progress")).toBeNull();
    say(() => client.run.done("a"));
    expect(screen.queryByTestId("progress")).toBeNull();
  });
});

describe("tools", () => {
  const call = (callId: string, args: unknown, result?: unknown, isError = false) => {
    say(() => client.run.tell({ type: "tool_start", callId, tool: "query_database", args }));
    if (result !== undefined)
      say(() => client.run.tell({ type: "tool_result", callId, tool: "query_database", result, isError }));
  };
  const group = () => screen.getByTestId<HTMLDetailsElement>("tools");

  it("are one line when they have finished, and open while one runs", async () => {
    await show();
    ask("one");
    for (let index = 0; index < 14; index += 1) call(`c${index}`, { portfolio: `P${index}` }, 1);
    call("last", {});
    expect(group().open).toBe(true);
    say(() =>
      client.run.tell({
        type: "tool_result",
        callId: "last",
        tool: "query_database",
        result: 1,
        isError: false,
      }),
    );
    expect(group().open).toBe(false);
    expect(group().querySelector("summary")?.textContent).toContain("15 tool calls");
    expect(group().querySelector("summary")?.textContent).toContain("query_database × 15");
    expect(screen.getAllByTestId("tool")).toHaveLength(15);
  });

  it("stay as the reader opened them", async () => {
    await show();
    ask("one");
    call("a", {}, 1);
    call("b", {}, 1);
    group().open = true;
    fireEvent(group(), new Event("toggle"));
    call("c", {}, 1);
    expect(group().open).toBe(true);
  });

  it("can be told apart, though their queries begin alike", async () => {
    await show();
    ask("one");
    const sql = "SELECT *\nFROM holdings WHERE portfolio = :portfolio";
    call("a", { sql, parameters: { portfolio: "HARBOUR" } });
    expect(screen.getByTestId("tool").querySelector(".tw-tool-brief")?.textContent).toBe(
      "portfolio: HARBOUR · SELECT * FROM holdings WHERE portfolio = :portfolio",
    );
  });

  it("show query, arguments, rows and failures", async () => {
    await show();
    ask("one");
    const sql = "SELECT <b>x</b>\n  FROM holdings";
    const result = { columns: ["name", "price"], rows: [["<i>a</i>", 1.5]], rowCount: 9 };
    call("a", { sql, parameters: { day: "2025" } }, result);
    expect(shown("tool-sql")).toBe(sql);
    expect(shown("tool")).toContain('"day": "2025"');
    const cells = Array.from(screen.getByTestId("tool-table").querySelectorAll("td"));
    expect(cells.map((cell) => [cell.textContent, cell.className])).toEqual([
      ["<i>a</i>", ""],
      ["1.5", "tw-right"],
    ]);
    expect(shown("tool")).toContain("First 1 of 9 rows");
    expect(screen.getByTestId("tool").querySelector("b, i")).toBeNull();
    call("b", {}, "No.", true);
    expect(screen.getAllByTestId("tool").map(({ dataset }) => dataset.state)).toEqual(["done", "failed"]);
    expect(group().querySelector("summary")?.textContent).toContain("1 failed");
  });
});

describe("a failure", () => {
  const fail = (retryable: boolean) =>
    say(() =>
      client.run.tell({ type: "error", code: "UNAVAILABLE", message: "Busy.", retryable, details: {} }),
    );

  it("shows message and code, and can be tried again", async () => {
    await show();
    ask("one");
    fail(true);
    expect(shown("error")).toContain("Busy.");
    expect(shown("error")).toContain("UNAVAILABLE");
    fireEvent.click(screen.getByTestId("retry"));
    expect(client.runs).toHaveLength(2);
    expect(screen.queryByTestId("error")).toBeNull();
  });

  it("that trying again won't help offers to ask again, as an answer does", async () => {
    await show();
    ask("one");
    fail(false);
    expect(screen.queryByTestId("retry")).toBeNull();
    fireEvent.click(screen.getByTestId("regenerate"));
    expect(client.runs).toHaveLength(2);
  });
});

describe("the connection's banner", () => {
  const LOST = {
    code: "CONNECTION_LOST",
    message: "The connection was lost.",
    retryable: true,
    resumable: true,
  };

  it("is empty while all is well, and says what is tried", async () => {
    await show();
    ask("one");
    expect(shown("connection")).toBe("");
    say(() => client.run.say({ kind: "reconnecting", attempt: 2 }));
    expect(shown("connection")).toBe("Connection lost. Reconnecting, try 2.");
    say(() => client.run.say({ kind: "reconnecting", attempt: 2, offline: true }));
    expect(shown("connection")).toContain("offline");
    say(() => client.run.write("a"));
    expect(shown("connection")).toBe("");
  });

  it("stays true after giving up, and has the way back", async () => {
    await show();
    ask("one");
    say(() => client.run.write("half"));
    say(() => client.run.say({ kind: "failed", failure: LOST }));
    expect(shown("connection")).toContain("The connection was lost.");
    expect(shown("turn-assistant")).toContain("Not complete");
    expect(screen.queryByTestId("error")).toBeNull();
    fireEvent.click(screen.getByTestId("retry"));
    expect(client.run.calls).toEqual(["resume"]);
    expect(shown("connection")).toContain("Reconnecting");
  });
});

describe("the messages of before", () => {
  it("are there again, without the words for a new conversation", async () => {
    client.page = () =>
      Promise.resolve({
        turns: [
          {
            runId: "r",
            message: "before",
            state: "ended",
            terminal: null,
            text: "yes",
            first: null,
            last: null,
            createTime: null,
          },
        ],
        nextPageToken: "",
      });
    await show({ title: "New" });
    expect(shown("turn-user")).toContain("before");
    expect(shown("answer")).toBe("yes");
    expect(screen.queryByText("New")).toBeNull();
  });

  it("can be asked for again when that failed", async () => {
    client.page = () => Promise.reject(new Error("No."));
    await show();
    expect(screen.getByRole("alert").textContent).toContain("could not be loaded");
    client.page = () => Promise.resolve({ turns: [], nextPageToken: "" });
    fireEvent.click(screen.getByText("Try again"));
    await act(() => vi.advanceTimersByTimeAsync(0));
    expect(screen.queryByRole("alert")).toBeNull();
  });
});

it("has names for what stands in it, and headings that fit the page", async () => {
  await show({ label: "Support", headingLevel: 3, agentName: "Ada" });
  ask("one");
  say(() => client.run.write("# A"));
  expect(screen.getByRole("region", { name: "Support" })).toBeTruthy();
  expect(screen.getByRole("heading", { level: 3, name: "Ada" })).toBeTruthy();
  expect(screen.getByRole("heading", { level: 4, name: "A" })).toBeTruthy();
});
