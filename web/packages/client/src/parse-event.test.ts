import { describe, expect, it } from "vitest";
import { parseMessage } from "./parse-event.ts";

function parseData(data: unknown, id?: string) {
  return parseMessage({ data: JSON.stringify(data), id });
}

function parseEvent(data: unknown) {
  const parsed = parseData(data);
  if (parsed.kind !== "event") throw new Error(`${parsed.kind}: no event`);
  return parsed.event;
}

describe("events", () => {
  it("counts one token for a delta that does not say", () => {
    expect(parseEvent({ type: "text_delta", content: "a", timestamp: 5 })).toEqual({
      type: "text_delta",
      content: "a",
      tokens: 1,
      timestamp: 5,
    });
  });

  it("keeps what a merged frame says of itself", () => {
    const event = parseEvent({ type: "text_delta", content: "abc", tokens: 3, from: 7, timestamp: 5 });
    expect(event).toMatchObject({ tokens: 3, from: 7 });
  });

  it("leaves a percent that can't be told absent", () => {
    expect(parseEvent({ type: "progress", message: "Working", timestamp: 5 })).not.toHaveProperty("percent");
  });

  it("hands a tool's JSON over as it is", () => {
    const args = { sql: "select 1", nested: [1, null, { a: true }] };
    expect(parseEvent({ type: "tool_start", callId: "c", tool: "t", args, timestamp: 5 })).toMatchObject({
      args,
    });
  });

  it("reads the bare done of older servers", () => {
    expect(parseEvent({ type: "done" })).toMatchObject({ finalMessage: "", finishReason: "stop" });
  });

  it("reads a finish reason it does not know as stop", () => {
    expect(parseEvent({ type: "done", finishReason: "boredom" })).toMatchObject({ finishReason: "stop" });
  });

  it("keeps code, details and trace of an error", () => {
    const error = {
      type: "error",
      code: "UNAVAILABLE",
      message: "Gone.",
      retryable: true,
      details: { reason: "PRODUCER_LOST" },
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
      timestamp: 5,
    };
    expect(parseEvent(error)).toEqual(error);
  });
});

describe("what is no event", () => {
  it("passes over a type it does not know, but keeps its place", () => {
    expect(parseData({ type: "hologram", timestamp: 5 }, "r.1.3")).toMatchObject({
      kind: "unknown",
      name: "hologram",
      cursor: { sequence: 3 },
    });
  });

  it("passes over a control frame it does not know", () => {
    expect(parseMessage({ event: "weather", data: "no json" })).toMatchObject({ kind: "unknown" });
  });

  it("never takes a word of JavaScript's own for a type", () => {
    expect(parseData({ type: "constructor" })).toMatchObject({ kind: "unknown" });
    expect(parseMessage({ event: "toString", data: "{}" })).toMatchObject({ kind: "unknown" });
  });

  it.each(["", "{", "null", "[]", '"text"', "{}", '{"type":7}', '{"type":"text_delta"}'])(
    "calls %j malformed and does not throw",
    (data) => {
      expect(parseMessage({ data, id: "r.1.3" })).toMatchObject({
        kind: "malformed",
        cursor: { sequence: 3 },
      });
    },
  );
});

it.each([
  ["resync", { first: "r.1.5", last: "r.1.9", reason: "trimmed" }],
  ["caught_up", { cursor: "r.1.9" }],
  ["degraded", { message: "The log is away." }],
  ["reconnect", { retryMs: 250 }],
  ["ping", {}],
])("reads the control frame %s", (event, data) => {
  expect(parseMessage({ event, data: JSON.stringify(data) })).toEqual({
    kind: "control",
    frame: { control: event, ...data },
  });
});
