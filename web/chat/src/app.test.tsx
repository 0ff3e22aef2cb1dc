import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import type { Signal, StreamEvent } from "@tokenwire/client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ApiKey } from "./api-key.ts";
import { App } from "./app.tsx";
import { type ChatRunOptions, ChatStore } from "./chat-store.ts";

let say: (signal: Signal) => void;
let calls: string[];
let headers: ChatRunOptions["headers"];

beforeEach(() => {
  calls = [];
  const openRun = (_request: unknown, options: ChatRunOptions) => {
    headers = options.headers;
    calls.push("start");
    say = (signal) => act(() => options.onSignal(signal));
    return {
      resume: () => void calls.push("resume"),
      stop: () => options.onSignal({ kind: "stop_requested" }),
    };
  };
  const apiKey = new ApiKey(undefined);
  const schedule = (draw: () => void) => draw();
  const store = new ChatStore({ sessionId: "s", apiKey, openRun, schedule, now: () => 0 });
  render(<App store={store} apiKey={apiKey} agent="portfolio" />);
});

afterEach(cleanup);

function tell(fields: Record<string, unknown> & { type: StreamEvent["type"] }, atMs = 100) {
  say({ kind: "event", event: { timestamp: 1, ...fields } as unknown as StreamEvent, atMs });
}

function text(content: string, atMs = 100) {
  tell({ type: "text_delta", content, tokens: 1 }, atMs);
}

function ask(question: string) {
  const box = screen.getByTestId("question");
  fireEvent.change(box, { target: { value: question } });
  fireEvent.keyDown(box, { key: "Enter" });
}

const shown = (id: string) => screen.getByTestId(id).textContent;

describe("the question box", () => {
  it("sends with Enter and is empty then", () => {
    ask("List three fruits.");
    expect(shown("turn-user")).toBe("List three fruits.");
    expect(screen.getByTestId<HTMLTextAreaElement>("question").value).toBe("");
  });

  it("does not send with Shift and Enter, nor while an input method composes", () => {
    const box = screen.getByTestId("question");
    fireEvent.change(box, { target: { value: "a" } });
    fireEvent.keyDown(box, { key: "Enter", shiftKey: true });
    fireEvent.keyDown(box, { key: "Enter", isComposing: true });
    expect(screen.queryByTestId("turn-user")).toBeNull();
  });

  it("keeps a question that is typed while a run goes on", () => {
    ask("one");
    ask("two");
    expect(screen.getAllByTestId("turn-user")).toHaveLength(1);
    expect(screen.getByTestId<HTMLTextAreaElement>("question").value).toBe("two");
  });
});

describe("the answer", () => {
  it("is on its way until the first token, then grows", () => {
    ask("one");
    expect(screen.getByLabelText("The answer is on its way")).toBeTruthy();
    text("Apples");
    expect(screen.queryByLabelText("The answer is on its way")).toBeNull();
    text(", pears");
    expect(shown("answer")).toBe("Apples, pears");
  });

  it("is never HTML", () => {
    ask("one");
    text("<img src=x onerror=alert(1)><b>bold</b>");
    expect(shown("answer")).toBe("<img src=x onerror=alert(1)><b>bold</b>");
    expect(screen.getByTestId("answer").querySelector("img, b")).toBeNull();
  });

  it("is spoken when it is whole, not token by token", () => {
    ask("one");
    text("a");
    expect(screen.getByTestId("answer").getAttribute("aria-busy")).toBe("true");
    tell({ type: "done", finalMessage: "a", finishReason: "stop" });
    expect(screen.getByTestId("answer").getAttribute("aria-busy")).toBe("false");
  });

  it("has a footer with tokens, time to the first and rate, measured here", () => {
    ask("one");
    text("a", 240);
    text("b", 1240);
    text("c", 2240);
    tell({ type: "done", finalMessage: "abc", finishReason: "stop" });
    const facts = Array.from(screen.getByTestId("footer").children, (fact) => fact.textContent);
    expect(facts).toEqual(["3 tokens", "first after 240 ms", "1 tokens/s"]);
  });
});

describe("a run", () => {
  it("shows its progress", () => {
    ask("one");
    tell({ type: "progress", percent: 45, message: "Calculating" });
    expect(shown("progress")).toBe("Calculating45 %");
    expect(screen.getByLabelText<HTMLProgressElement>("Calculating").value).toBe(45);
  });

  it("shows its tools: name, arguments, result, failure", () => {
    ask("one");
    tell({ type: "tool_start", callId: "c", tool: "query", args: { day: "today" } });
    expect(screen.getByTestId("tool").dataset.state).toBe("running");
    tell({ type: "tool_result", callId: "c", tool: "query", result: { rows: 7 }, isError: true });
    expect(screen.getByTestId("tool").dataset.state).toBe("failed");
    expect(shown("tool")).toContain('"day": "today"');
    expect(shown("tool")).toContain('"rows": 7');
  });

  it("shows a tool's query as it was written, the other arguments apart, and rows as a table", () => {
    ask("one");
    const sql = "SELECT <b>x</b>\n  FROM holdings";
    tell({ type: "tool_start", callId: "c", tool: "query", args: { sql, parameters: { day: "2025" } } });
    expect(shown("tool-sql")).toBe(sql);
    expect(shown("tool")).toContain("SQL");
    expect(shown("tool")).toContain('"day": "2025"');
    expect(shown("tool")).not.toContain('"sql"');
    const result = { columns: ["name", "price"], rows: [["<i>a</i>", 1.5]], rowCount: 9 };
    tell({ type: "tool_result", callId: "c", tool: "query", result, isError: false });
    const cells = Array.from(screen.getByTestId("tool-table").querySelectorAll("td"));
    expect(cells.map((cell) => [cell.textContent, cell.className])).toEqual([
      ["<i>a</i>", ""],
      ["1.5", "right"],
    ]);
    expect(shown("tool")).toContain("First 1 of 9 rows");
    expect(screen.getByTestId("tool").querySelector("b, i")).toBeNull();
  });

  it("keeps its text when it is stopped, marked as such", () => {
    ask("one");
    text("half");
    fireEvent.click(screen.getByTestId("stop"));
    expect(shown("status")).toBe("Stopping");
    tell({ type: "done", finalMessage: "half", finishReason: "cancelled" });
    expect(shown("answer")).toBe("half");
    expect(shown("turn-assistant")).toContain("Stopped");
    expect(screen.getByTestId("send")).toBeTruthy();
  });

  it("that fails shows message and code, and can be tried again", () => {
    ask("one");
    tell({ type: "error", code: "UNAVAILABLE", message: "The model is busy.", retryable: true, details: {} });
    expect(shown("error")).toContain("The model is busy.");
    expect(shown("error")).toContain("UNAVAILABLE");
    fireEvent.click(screen.getByTestId("retry"));
    expect(calls).toEqual(["start", "start"]);
    expect(screen.queryByTestId("error")).toBeNull();
  });

  it("that can't succeed offers no retry", () => {
    ask("one");
    tell({ type: "error", code: "INVALID_ARGUMENT", message: "Too long.", retryable: false, details: {} });
    expect(screen.queryByTestId("retry")).toBeNull();
  });
});

it("names the agent that the page's address asks for", () => {
  expect(shown("agent")).toBe("Agent: portfolio");
});

describe("a server that wants a key", () => {
  const refuse = (status = 401) => {
    const failure = { code: "UNAUTHENTICATED", message: "No.", retryable: false, resumable: false, status };
    say({ kind: "failed", failure });
  };
  const enter = (key: string) => {
    fireEvent.change(screen.getByTestId("api-key"), { target: { value: key } });
    fireEvent.click(screen.getByTestId("api-key-use"));
  };

  it("gets it, with the question that was refused, once", () => {
    ask("one");
    refuse();
    expect(screen.getByLabelText<HTMLInputElement>("This server wants an API key").type).toBe("password");
    expect(screen.queryByTestId("error")).toBeNull();
    expect(calls).toEqual(["start"]);
    enter(" secret ");
    expect(calls).toEqual(["start", "start"]);
    expect(screen.getAllByTestId("turn-user")).toHaveLength(1);
    expect(typeof headers === "function" && headers({ refused: false })).toEqual({ Authorization: "Bearer secret" });
    expect(screen.queryByTestId("api-key")).toBeNull();
    text("a");
    expect(shown("answer")).toBe("a");
  });

  it("asks again for a wrong one, and says so", () => {
    ask("one");
    refuse();
    expect(screen.getByRole("alert").textContent).toBe("");
    enter("wrong");
    refuse();
    expect(screen.getByRole("alert").textContent).toContain("did not accept this key");
    expect(screen.getByTestId<HTMLInputElement>("api-key").value).toBe("");
    expect(calls).toEqual(["start", "start"]);
  });

  it("is sent nothing that can't stand in a header", () => {
    ask("one");
    refuse();
    enter("kéy");
    expect(screen.getByRole("alert").textContent).toContain("no blanks");
    expect(calls).toEqual(["start"]);
  });

  it("keeps what is typed meanwhile, and takes the stream up again where it was refused", () => {
    ask("one");
    fireEvent.change(screen.getByTestId("question"), { target: { value: "two" } });
    const failure = { code: "UNAUTHENTICATED", message: "", retryable: true, resumable: true, status: 401 };
    say({ kind: "failed", failure });
    enter("secret");
    expect(calls).toEqual(["start", "resume"]);
    expect(screen.getByTestId<HTMLTextAreaElement>("question").value).toBe("two");
  });

  it("is not an agent that fails for want of a key of its own", () => {
    ask("one");
    tell({
      type: "error",
      code: "UNAUTHENTICATED",
      message: "The model's key.",
      retryable: false,
      details: {},
    });
    expect(screen.queryByTestId("api-key")).toBeNull();
    expect(shown("error")).toContain("The model's key.");
  });

  it("can be told no more: the key is forgotten on demand", () => {
    expect(screen.queryByTestId("api-key-forget")).toBeNull();
    ask("one");
    refuse();
    enter("secret");
    fireEvent.click(screen.getByTestId("api-key-forget"));
    expect(typeof headers === "function" && headers({ refused: false })).toEqual({});
    expect(screen.queryByTestId("api-key-forget")).toBeNull();
  });
});

it("says what the connection does", () => {
  expect(shown("status")).toBe("Ready");
  ask("one");
  expect(shown("status")).toBe("Connecting");
  say({ kind: "opened", runId: "r", traceId: undefined });
  expect(shown("status")).toBe("Streaming");
  say({ kind: "reconnecting", attempt: 2 });
  expect(shown("status")).toBe("Reconnecting, try 2");
  text("a");
  expect(shown("status")).toBe("Streaming");
  tell({ type: "done", finalMessage: "a", finishReason: "stop" });
  expect(shown("status")).toBe("Ready");
});
