import { Fields, MalformedField, present } from "./fields.ts";

/** Why there is no (whole) answer, in words fit for a user. */
export interface Failure {
  /** Canonical gRPC code name, or `CONNECTION_LOST` when this client lost the stream. */
  readonly code: string;
  readonly message: string;
  /** The same request may succeed if it is sent again. */
  readonly retryable: boolean;
  /** The run may still be there: the stream can be taken up again where it broke. */
  readonly resumable: boolean;
  readonly traceId?: string;
  /** HTTP status of the refusal; absent when no request was refused, as in a run that failed by itself. */
  readonly status?: number;
}

/** The answer to a request was not a stream. */
export class RequestFailed extends Error {
  readonly failure: Failure;
  readonly status: number;

  constructor(status: number, failure: Failure) {
    super(failure.message);
    this.status = status;
    this.failure = failure;
  }
}

/**
 * Return what a response that is no stream says.
 *
 * Source: https://www.rfc-editor.org/rfc/rfc9457 (problem details)
 */
export async function readFailure(response: Response): Promise<Failure> {
  const fields = await readFields(response);
  const busy = response.status === 429 || response.status >= 500;
  const traceId = fields?.stringOr("traceId", undefined);
  return {
    code: fields?.stringOr("code", undefined) ?? `HTTP_${response.status}`,
    message:
      fields?.stringOr("detail", undefined) ??
      fields?.stringOr("title", undefined) ??
      `The server answered with status ${response.status}.`,
    retryable: fields?.booleanOr("retryable", busy) ?? busy,
    resumable: false,
    status: response.status,
    ...present("traceId", traceId),
  };
}

async function readFields(response: Response): Promise<Fields | undefined> {
  if (!/\bjson\b/.test(response.headers.get("content-type") ?? "")) return undefined;
  try {
    return new Fields(await response.json());
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof MalformedField) return undefined;
    throw error;
  }
}
