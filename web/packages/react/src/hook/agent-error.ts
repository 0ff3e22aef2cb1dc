import type { Failure } from "@tokenwire/client";

/** Why a run failed, as an `Error` that can be thrown and logged. */
export class AgentError extends Error {
  /** Canonical gRPC code name, or `CONNECTION_LOST`. */
  readonly code: string;
  /** All that is known of it: whether a retry may help, the HTTP status, the trace id. */
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.name = "AgentError";
    this.code = failure.code;
    this.failure = failure;
  }
}

const ERRORS = new WeakMap<Failure, AgentError>();

/** Return the error of a failure: the same one each time, so that it can be compared between renders. */
export function errorOf(failure: Failure): AgentError {
  const error = ERRORS.get(failure) ?? new AgentError(failure);
  ERRORS.set(failure, error);
  return error;
}
