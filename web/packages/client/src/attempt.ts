import { type Failure, LOST } from "./failure.ts";
import type { End } from "./run-reader.ts";

/** How one attempt to read ended. */
export type AttemptEnd =
  | End
  | { readonly kind: "failed"; readonly failure: Failure }
  /** At once, without a pause: the connection was closed on purpose. */
  | { readonly kind: "again" };

export const AGAIN = { kind: "again" } as const;

/** Return how an attempt ended to read a run that is known, which the server refused: for now only, or for good. */
export function afterRefusal(failure: Failure, status: number): AttemptEnd {
  // 401: the run is still there for whoever comes back with other headers.
  if (status === 401) return { kind: "failed", failure: { ...failure, retryable: true, resumable: true } };
  // 501: a server that can't resume at all will not learn it within the next attempts.
  if (status === 429 || (status >= 500 && status !== 501)) return { kind: "broken", failure };
  // 204: all that there is has been seen, yet the run's end was not in it.
  if (status === 204) return { kind: "failed", failure: LOST };
  const message = `${LOST.message} ${failure.message}`;
  // What can't be resumed can still be asked again, if the user wants to.
  return { kind: "failed", failure: { ...failure, message, retryable: true } };
}
