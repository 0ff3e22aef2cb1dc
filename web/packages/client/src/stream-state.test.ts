import { describe, expect, it } from "vitest";
import type { Done, StreamEvent } from "./events.ts";
import type { Failure } from "./failure.ts";
import { answerText, reduce, type Signal, type StreamState, startState, traceIdOf } from "./stream-state.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const LOST: Failure = { code: "CONNECTION_LOST", message: "Lost.", retryable: true, resumable: true };

function after(...signals: readonly (Signal | StreamEvent)[]): StreamState {
  return signals.reduce<StreamState>(
    (state, one) => reduce(state, "type" in one ? { kind: "event", event: one, atMs: 1100 } : one),
    startState(1000),
  );
}

function text(content: string, tokens = 1): StreamEvent {
  return { type: "text_delta", content, tokens, timestamp: 5 };
}

function done(fields: Partial<Done> = {}): Done {
  return {
    type: "done",
    finalMessage: "",
    finalMessageOmitted: false,
    finishReason: "stop",
    timestamp: 5,
    ...fields,
  };
}

function toolStart(callId: string): StreamEvent {
  return { type: "tool_start", callId, tool: "query", args: { n: 1 }, timestamp: 5 };
}

function toolResult(callId: string, isError = false): StreamEvent {
  return { type: "tool_result", callId, tool: "query", result: [callId], isError, timestamp: 5 };
}

describe("the answer", () => {
  it("is the deltas, joined", () => {
    expect(answerText(after(text("Apples"), text(", "), text("pears")))).toBe("Apples, pears");
  });

  it("is cut into segments where a tool was called, and joins to the same text", () => {
    const state = after(text("a"), toolStart("1"), toolStart("2"), text("b"), text("c"));
    expect(state.segments).toEqual(["a", "bc"]);
  });

  it("keeps its segments when the final message says the same", () => {
    const state = after(text("a"), toolStart("1"), text("b"), done({ finalMessage: "ab" }));
    expect(state.segments).toEqual(["a", "b"]);
  });

  it("is healed by the final message when something was lost", () => {
    const gap: Signal = { kind: "gap", restart: false, complete: false };
    const state = after(text("a"), gap, text("c"), done({ finalMessage: "abc" }));
    expect(answerText(state)).toBe("abc");
    expect(state.gap).toBe(false);
  });

  it("says that something is missing when the final message was left out", () => {
    const gap: Signal = { kind: "gap", restart: false, complete: false };
    const state = after(text("a"), gap, text("c"), done({ finalMessageOmitted: true }));
    expect(answerText(state)).toBe("ac");
    expect(state.gap).toBe(true);
  });

  it("begins anew when the log does", () => {
    const state = after(text("a"), toolStart("1"), { kind: "gap", restart: true, complete: true }, text("A"));
    expect(answerText(state)).toBe("A");
    expect(state.tools).toEqual([]);
    expect(state.gap).toBe(false);
  });

  it("does not mix with the reasoning", () => {
    const state = after({ type: "reasoning_delta", content: "Hm", tokens: 1, timestamp: 5 }, text("Yes"));
    expect([state.reasoning, answerText(state)]).toEqual(["Hm", "Yes"]);
  });
});

describe("tools", () => {
  it("get the result that names their call", () => {
    const state = after(toolStart("1"), toolStart("2"), toolResult("1", true));
    expect(state.tools).toEqual([
      { callId: "1", tool: "query", args: { n: 1 }, outcome: { result: ["1"], isError: true } },
      { callId: "2", tool: "query", args: { n: 1 } },
    ]);
  });

  it("show a result whose start was lost", () => {
    expect(after(toolResult("9")).tools).toMatchObject([{ callId: "9", outcome: { result: ["9"] } }]);
  });
});

describe("the end", () => {
  it("keeps the text of a cancelled run", () => {
    const state = after(text("half"), { kind: "stop_requested" }, done({ finishReason: "cancelled" }));
    expect(answerText(state)).toBe("half");
    expect(state.stopping).toBe(false);
    expect(state.outcome).toMatchObject({ kind: "done", finishReason: "cancelled" });
  });

  it("is final: nothing that comes later changes anything", () => {
    const state = after(text("a"), done());
    expect(reduce(state, { kind: "event", event: text("b"), atMs: 2 })).toBe(state);
    expect(reduce(state, { kind: "failed", failure: LOST })).toBe(state);
    expect(reduce(state, { kind: "reconnecting", attempt: 1 })).toBe(state);
  });

  it("takes the trace of the error", () => {
    const state = after({
      type: "error",
      code: "INTERNAL",
      message: "Failed.",
      retryable: false,
      details: {},
      traceId: TRACE,
      timestamp: 5,
    });
    expect(state.traceId).toBe(TRACE);
    expect(state.outcome).toMatchObject({ kind: "failed", failure: { code: "INTERNAL", retryable: false } });
  });

  it("of a lost connection can be taken back by a resumed one", () => {
    const state = after(
      text("a"),
      { kind: "failed", failure: LOST },
      { kind: "reconnecting", attempt: 1 },
      text("b"),
    );
    expect(state).toMatchObject({
      segments: ["ab"],
      connection: "connected",
      attempt: 0,
      outcome: undefined,
    });
  });
});

describe("the connection", () => {
  it("is connecting, connected, reconnecting, closed", () => {
    const opened: Signal = { kind: "opened", runId: "r", traceId: undefined };
    expect(after().connection).toBe("connecting");
    expect(after(opened).connection).toBe("connected");
    expect(after(opened, { kind: "reconnecting", attempt: 2 })).toMatchObject({
      connection: "reconnecting",
      attempt: 2,
    });
    expect(after(opened, done()).connection).toBe("closed");
  });

  it("is degraded until the next event", () => {
    const degraded: Signal = { kind: "control", frame: { control: "degraded", message: "Away." } };
    expect(after(degraded).degraded).toBe(true);
    expect(after(degraded, text("a")).degraded).toBe(false);
  });

  it("lets Stop be pressed again when it did not get through", () => {
    const state = after({ kind: "stop_requested" }, { kind: "stop_failed" });
    expect(state).toMatchObject({ stopping: false, stopFailed: true });
  });
});

it("measures from the question to the first and the last token", () => {
  const late: Signal = { kind: "event", event: text("c", 3), atMs: 2100 };
  expect(after(text("a"), late).pace).toEqual({
    startedAtMs: 1000,
    firstTokenAtMs: 1100,
    lastTokenAtMs: 2100,
    tokens: 4,
  });
});

it("finds the trace id in a traceparent", () => {
  expect(traceIdOf(`00-${TRACE}-00f067aa0ba902b7-01`)).toBe(TRACE);
  expect(traceIdOf("rubbish")).toBeUndefined();
  expect(traceIdOf(null)).toBeUndefined();
});
