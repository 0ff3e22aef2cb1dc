import type { JsonValue, StreamEvent } from "./events.ts";
import { isMalformed, present, readFields } from "./fields.ts";

/** Why there is no (whole) answer, in words fit for a user. */
export interface Failure {
  /** Canonical gRPC code name, or `CONNECTION_LOST` when this client lost the stream. */
  readonly code: string;
  /** What is wrong, and what to do. */
  readonly message: string;
  /** The same request may succeed if it is sent again. */
  readonly retryable: boolean;
  /** The run may still be there: the same run can be taken up again where it broke, and none is started twice. */
  readonly resumable: boolean;
  /** Names the trace in which the operator finds the cause. */
  readonly traceId?: string;
  /** HTTP status of the refusal; absent when no request was refused, as in a run that failed by itself. */
  readonly status?: number;
  /** Further facts for programs, as `reason` and `field`. */
  readonly details?: Readonly<Record<string, string>>;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs?: number;
}

type ErrorEvent = Extract<StreamEvent, { type: "error" }>;

/** A request was refused, or its answer was not what was asked for. */
export class RequestFailed extends Error {
  /** Tells it from other errors across realms, where `instanceof` does not. */
  override readonly name = "RequestFailed";
  /** Why. */
  readonly failure: Failure;

  constructor(failure: Failure, options?: ErrorOptions) {
    super(failure.message, options);
    this.failure = failure;
  }

  /** HTTP status of the refusal; undefined when there was no answer. */
  get status(): number | undefined {
    return this.failure.status;
  }
}

/** The server could not be reached. */
export const UNREACHABLE: Failure = {
  code: "UNAVAILABLE",
  message: "The server can't be reached. Check your connection, then try again.",
  retryable: true,
  resumable: true,
};

/** The connection broke, and could not be had again in time. */
export const LOST: Failure = {
  code: "CONNECTION_LOST",
  message: "The connection was lost before the answer was complete.",
  retryable: true,
  resumable: true,
};

/** Return what an `error` event says. */
export function eventFailure(event: ErrorEvent, resumable: boolean): Failure {
  const { code, message, retryable, details, traceId } = event;
  return { code, message, retryable, resumable, details, ...present("traceId", traceId) };
}

/**
 * Return what a response that is no stream says.
 *
 * Source: https://www.rfc-editor.org/rfc/rfc9457 (problem details)
 */
export async function readFailure(response: Response): Promise<Failure> {
  const { status, headers } = response;
  const busy = status === 429 || status >= 500;
  const fields = await readProblem(response, {
    code: `HTTP_${status}`,
    title: `The server answered with status ${status}.`,
    detail: "",
    retryable: busy,
    details: {},
  });
  return {
    code: fields.code,
    message: fields.detail || fields.title,
    retryable: fields.retryable,
    resumable: false,
    status,
    details: fields.details,
    ...present("traceId", fields.traceId),
    ...present("retryAfterMs", readRetryAfter(headers.get("retry-after"), Date.now())),
  };
}

/**
 * Return the milliseconds that a `Retry-After` asks to wait: it has seconds, or a date.
 *
 * Source: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
 */
export function readRetryAfter(value: string | null, nowUnixMs: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowUnixMs);
}

/** What a problem document says, as far as this client reads it. */
interface Problem {
  readonly code: string;
  readonly title: string;
  readonly detail: string;
  readonly retryable: boolean;
  readonly details: Record<string, string>;
  readonly traceId?: string;
}

/** Return the response's problem document, or what stands for one where it has none. */
async function readProblem(response: Response, or: Problem & Record<string, JsonValue>): Promise<Problem> {
  try {
    if (/\bjson\b/.test(response.headers.get("content-type") ?? "")) {
      return readFields({ or }, await response.json()) as unknown as Problem;
    }
    await response.body?.cancel();
  } catch (error) {
    if (!isMalformed(error)) throw error;
  }
  return or;
}
