import assert from "node:assert/strict";
import { test } from "node:test";
import { Metadata, status } from "@grpc/grpc-js";
import { richStatusTypes } from "../src/service.js";
import { describeFailure, readFailure } from "../src/status.js";

const types = richStatusTypes();
const packed = (name, message) => ({
  type_url: `type.googleapis.com/${name}`,
  value: types[name].serialize(message),
});

function failed(details) {
  const metadata = new Metadata();
  const message = { code: status.INVALID_ARGUMENT, message: "No.", details };
  metadata.set("grpc-status-details-bin", types["google.rpc.Status"].serialize(message));
  return Object.assign(new Error("x"), { code: status.INVALID_ARGUMENT, details: "No.", metadata });
}

test("a refusal's reason, facts, wrong fields and waiting time are read", () => {
  const failure = readFailure(
    failed([
      packed("google.rpc.ErrorInfo", { reason: "BAD", domain: "tokenwire", metadata: { agent: "x" } }),
      packed("google.rpc.BadRequest", { fieldViolations: [{ field: "run.message", description: "is empty" }] }),
      packed("google.rpc.RetryInfo", { retryDelay: { seconds: 1, nanos: 500_000_000 } }),
      { type_url: "type.googleapis.com/google.rpc.Help", value: Buffer.alloc(0) },
    ]),
  );
  assert.deepEqual(failure, {
    code: "INVALID_ARGUMENT",
    message: "No.",
    own: true,
    reason: "BAD",
    metadata: { agent: "x" },
    violations: [{ field: "run.message", description: "is empty" }],
    retryAfterMs: 1500,
  });
  assert.equal(
    describeFailure(failure),
    "INVALID_ARGUMENT: No. [BAD]\n  agent: x\n  run.message: is empty\n  retry after 1500 ms",
  );
});

test("what the transport reports is not the server's own word", () => {
  const error = Object.assign(new Error("x"), { code: status.UNAVAILABLE, details: "refused" });
  assert.deepEqual(readFailure(error), { code: "UNAVAILABLE", message: "refused", own: false });
});
