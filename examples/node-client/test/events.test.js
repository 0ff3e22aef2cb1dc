import assert from "node:assert/strict";
import { test } from "node:test";
import { cursorOf, idOf, jsonLine, payloadOf } from "../src/events.js";

const event = (payload, fields) => ({
  sequence: "7",
  epoch: 1,
  createTime: { seconds: "1763841600", nanos: 123_456_789 },
  payload,
  [payload]: fields,
});

test("JSON text is passed on as it is: a number beyond 2^53 keeps every digit", () => {
  const line = jsonLine("r", event("toolResult", { callId: "c", tool: "t", resultJson: '{"n":12345678901234567890}', isError: false }));
  assert.ok(line.includes('"result":{"n":12345678901234567890}'));
  assert.equal(JSON.parse(line).isError, false);
});

test("an event reads as in the browser: type, id, milliseconds to a tenth", () => {
  assert.deepEqual(JSON.parse(jsonLine("r", event("textDelta", { content: 'a"\n', tokenCount: 1 }))), {
    type: "text_delta",
    id: "r.1.7",
    timestamp: 1763841600123.4,
    content: 'a"\n',
  });
});

test("what is absent is left out, and zero is not absent", () => {
  const line = (fields) => JSON.parse(jsonLine("r", event("progress", { message: "m", step: "", ...fields })));
  assert.equal(line({ percent: 0, _percent: "percent" }).percent, 0);
  assert.equal("percent" in line({ percent: 0 }), false);
});

test("a payload that is not known is passed over", () => {
  assert.equal(payloadOf({ sequence: "1" }), null);
  assert.equal(jsonLine("r", { sequence: "1" }), null);
});

test("a cursor is an event's id, or a sequence", () => {
  assert.deepEqual(cursorOf(idOf("run", { epoch: 2, sequence: "41" })), { epoch: 2, sequence: "41" });
  assert.deepEqual(cursorOf("41"), { epoch: 1, sequence: "41" });
  assert.throws(() => cursorOf("run.1.x"), RangeError);
});
