import assert from "node:assert/strict";
import { test } from "node:test";
import { FRESH, KNOWN, MISSING, Position } from "../src/position.js";

const event = (sequence, payload = "textDelta", epoch = 1) => ({ sequence: String(sequence), epoch, payload, [payload]: {} });
const cursor = (epoch, sequence) => ({ epoch, sequence: String(sequence) });
const reached = (epoch, sequence) => Object.assign(new Position("r", cursor(epoch, sequence)), { shown: cursor(epoch, sequence) });

test("events are passed on in order and once", () => {
  const at = new Position();
  const steps = [
    [event(2), MISSING],
    [event(1), FRESH],
    [event(1), KNOWN],
    [event(3), MISSING],
    [event(2), FRESH],
    [{ sequence: "3", epoch: 0 }, FRESH], // a payload that is newer than we are has its place too; epoch 0 is 1
    [event(2), KNOWN],
    [event(4, "done"), FRESH],
  ];
  for (const [given, verdict] of steps) assert.equal(at.take(given), verdict, given.sequence);
  assert.equal(at.outcome, "done");
});

test("sequences are compared as numbers, with all their 64 bits", () => {
  assert.equal(reached(1, 9).take(event(10)), FRESH);
  assert.equal(reached(1, "9007199254740993").take(event("9007199254740993")), KNOWN);
  assert.equal(reached(1, "9007199254740993").take(event("9007199254740994")), FRESH);
});

test("a higher epoch comes after all of the lower one", () => {
  const at = reached(1, 1);
  assert.equal(at.take(event(2, "error", 2)), FRESH);
  assert.equal(at.take(event(3)), KNOWN);
});

test("after a trimmed log it goes on where the log begins", () => {
  const at = reached(1, 3);
  at.resync(cursor(1, 9));
  assert.equal(at.take(event(10)), MISSING);
  assert.equal(at.take(event(9)), FRESH);
});

test("of a log that lost its end nothing is shown twice", () => {
  const at = reached(1, 5);
  at.resync(cursor(1, 1));
  assert.equal(at.take(event(1)), KNOWN);
  assert.deepEqual([at.cursor, at.resumeAt], [cursor(1, 1), cursor(1, 5)]);
  assert.equal(at.take(event(2)), KNOWN);
  assert.equal(at.take(event(3, "error", 2)), FRESH);
});

test("a cursor that was never reached hides nothing", () => {
  const at = new Position("r", cursor(1, 99)); // of the command line
  at.resync(cursor(1, 1));
  assert.equal(at.take(event(1)), FRESH);
});

test("a run has ended only if we have its last event", () => {
  const run = { state: "RUN_STATE_ENDED", last: cursor(2, 4), outcome: { event: "error" } };
  const outcome = (at, given) => {
    at.conclude(given);
    return at.outcome;
  };
  assert.equal(outcome(reached(2, 4), { ...run, state: "RUN_STATE_RUNNING" }), null);
  assert.equal(outcome(reached(1, 4), run), null);
  assert.equal(outcome(reached(2, 4), run), "error");
});
