import { Fields, MalformedField, present } from "./fields.ts";

/** Why there is no (whole) answer, in words fit for a user. */
export interface Failure {
  /** Canonical gRPC code name, or `CONNECTION_LOST` when this client lost the stream. */
  readonly code: string;
  readonly message: string;
  /** The same request may succeed if it is sent again. */
  readonly retryable: boolean;
  /** The run may still be there: the same run can be taken up again where it broke, and none is started twice. */
  readonly resumable: boolean;
  readonly traceId?: string;
  /** HTTP status of the refusal; absent when no request was refused, as in a run that failed by itself. */
  readonly status?: number;
  /** Further facts for programs, as `reason` and `field`. */
  readonly details?: Readonly<Record<string, string>>;
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs?: number;
}

/** A request was refused, or its answer was not what was asked for. */
export class RequestFailed extends Error {
  override readonly name = "RequestFailed";
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

/**
 * Return what a response that is no stream says.
 *
 * Source: https://www.rfc-editor.org/rfc/rfc9457 (problem details)
 */
export async function readFailure(response: Response): Promise<Failure> {
  const fields = await readFields(response);
  const busy = response.status === 429 || response.status >= 500;
  return {
    code: fields?.stringOr("code", undefined) ?? `HTTP_${response.status}`,
    message:
      fields?.stringOr("detail", undefined) ??
      fields?.stringOr("title", undefined) ??
      `The server answered with status ${response.status}.`,
    retryable: fields?.booleanOr("retryable", busy) ?? busy,
    resumable: false,
    status: response.status,
    ...present("traceId", fields?.stringOr("traceId", undefined)),
    ...present("details", fields?.object("details")?.strings()),
    ...present("retryAfterMs", readRetryAfter(response.headers.get("retry-after"), Date.now())),
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

async function readFields(response: Response): Promise<Fields | undefined> {
  try {
    if (/\bjson\b/.test(response.headers.get("content-type") ?? "")) {
      return new Fields(await response.json());
    }
    await response.body?.cancel();
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof MalformedField)) throw error;
  }
  return undefined;
}
