// What a failed call says beyond its code: google.rpc.Status in the trailer grpc-status-details-bin.

import { status as codes } from "@grpc/grpc-js";
import { richStatusTypes } from "./service.js";

const KEY = "grpc-status-details-bin";
let types;

/**
 * Returns a failed call's code, message and details.
 *
 * Details of a type that is not known here are passed over.
 *
 * @param {import("@grpc/grpc-js").ServiceError} error
 * @returns {{code: string, message: string, own: boolean, reason?: string, metadata?: Record<string, string>,
 *   violations?: {field: string, description: string}[], retryAfterMs?: number}}
 *   `own` is true when the server itself refused; otherwise it is the transport that failed.
 */
export function readFailure(error) {
  const failure = { code: codes[error.code] ?? "UNKNOWN", message: error.details || error.message, own: false };
  const [packed] = error.metadata?.get(KEY) ?? [];
  if (packed === undefined) return failure;
  failure.own = true;
  types ??= richStatusTypes();
  for (const detail of types["google.rpc.Status"].deserialize(packed).details) {
    const name = detail.type_url.split("/").pop();
    const read = READERS[name];
    if (read) Object.assign(failure, read(types[name].deserialize(detail.value)));
  }
  return failure;
}

const READERS = {
  "google.rpc.ErrorInfo": ({ reason, metadata }) => ({ reason, metadata }),
  "google.rpc.BadRequest": ({ fieldViolations }) => ({ violations: fieldViolations }),
  "google.rpc.RetryInfo": ({ retryDelay }) => ({
    retryAfterMs: Number(retryDelay.seconds) * 1000 + retryDelay.nanos / 1_000_000,
  }),
};

/** Returns a failure as lines for a person. */
export function describeFailure({ code, message, reason, metadata = {}, violations = [], retryAfterMs }) {
  const facts = Object.entries(metadata).map(([name, value]) => `  ${name}: ${value}`);
  return [
    `${code}: ${message}${reason ? ` [${reason}]` : ""}`,
    ...facts,
    ...violations.map(({ field, description }) => `  ${field}: ${description}`),
    ...(retryAfterMs === undefined ? [] : [`  retry after ${retryAfterMs} ms`]),
  ].join("\n");
}
