import assert from "node:assert/strict";
import { test } from "node:test";
import { isFinal, pauseBefore } from "../src/retry.js";

test("what the transport reports may pass", () => {
  for (const code of ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"]) assert.equal(isFinal({ code, own: false }), false);
  for (const code of ["NOT_FOUND", "DATA_LOSS", "PERMISSION_DENIED", "UNAUTHENTICATED", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"]) {
    assert.equal(isFinal({ code, own: false }), true, code);
  }
});

test("a core's own refusal stands unless it says when to come back", () => {
  assert.equal(isFinal({ code: "UNAVAILABLE", own: true }), true);
  assert.equal(isFinal({ code: "RESOURCE_EXHAUSTED", own: true, retryAfterMs: 100 }), false);
});

test("pauses grow to a second and are spread", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 1000].map((tries) => pauseBefore(tries, 0)), [100, 200, 400, 800, 1000, 1000]);
  assert.equal(pauseBefore(4, 1), 500);
});
