import { RequestFailed, readFailure } from "../failure.ts";
import type { Signal } from "../stream-state.ts";

/** When a page received the events of one stream: the body of `POST /api/runs/{runId}/timing`. */
export interface TimingReport {
  /** The `Timing-Token` of the stream's response: what allows the report. */
  readonly token: string;
  /** When it is sent, by the page's clock, in Unix milliseconds. */
  readonly sentMs: number;
  /** The sequence of a first event, and when it and those after it were received, in Unix milliseconds. */
  readonly parts: readonly { readonly first: number; readonly receivedMs: readonly number[] }[];
}

/** Where a report is sent, and with what. */
export interface TimingTarget {
  /** As the client's: default `/api`, on the page's own origin. */
  readonly baseUrl?: string;
  /** Default: the global one. */
  readonly fetch?: typeof fetch;
  /** Headers of the request, for example `Authorization`. */
  readonly headers?: HeadersInit;
}

// What fits into the 256 KiB that an edge takes, at 18 characters each; it takes 16,384 events in 64 parts at most.
const MAX_EVENTS = 12_000;
const MAX_PARTS = 64;

// More than a wall clock is set by in passing. Where the page's clock stops while the computer sleeps, it is the
// time of sleep. Source: https://www.w3.org/TR/hr-time-3/#sec-monotonic-clock
const MAX_DRIFT_MS = 1_000;

interface Part {
  readonly first: number;
  readonly receivedMs: number[];
}

/**
 * The times at which a page received the events of its stream.
 *
 * A stream that was taken up again is another one, with a token of its own: its report begins anew.
 */
export class ReceivedEvents {
  readonly #originMs: number;
  #token: string | undefined;
  #runId: string | undefined;
  #parts: Part[] = [];
  #count = 0;
  /** How far the wall clock was ahead of the page's when the stream was opened. */
  #aheadMs = 0;

  /**
   * @param originMs - What makes a signal's `atMs` Unix milliseconds. Default: this page's `performance.timeOrigin`.
   */
  constructor(originMs = performance.timeOrigin) {
    this.#originMs = originMs;
  }

  /** The run that the events are of; undefined before its stream is open. */
  get runId(): string | undefined {
    return this.#runId;
  }

  /** Take a signal of the run: from `RunOptions.onSignal`, or a session's `listen`. */
  take(signal: Signal): void {
    if (signal.kind === "opened") {
      this.#token = signal.timingToken;
      this.#runId = signal.runId ?? this.#runId;
      this.#parts = [];
      this.#count = 0;
      this.#aheadMs = aheadMs();
    }
    if (signal.kind === "event" && signal.cursor !== undefined) {
      this.#runId = signal.cursor.runId;
      this.#add(signal.cursor.sequence, signal.atMs);
    }
  }

  /**
   * Return the report of the stream so far, and forget it: an edge takes one of each stream. Undefined where there is
   * nothing to report, as for a stream without `timing`, or one that another tab reads; and where the computer slept
   * since the stream was opened, for the page's clock may have stood still: an edge could not place the times.
   */
  report(nowMs: number): TimingReport | undefined {
    const [token, parts] = [this.#token, this.#parts];
    this.#token = undefined;
    this.#parts = [];
    if (token === undefined || parts.length === 0) return undefined;
    if (Math.abs(aheadMs() - this.#aheadMs) > MAX_DRIFT_MS) return undefined;
    return { token, sentMs: this.#unixMs(nowMs), parts };
  }

  #add(sequence: number, atMs: number): void {
    if (this.#token === undefined || this.#count >= MAX_EVENTS) return;
    const part = this.#parts.at(-1);
    const isNext = part !== undefined && sequence === part.first + part.receivedMs.length;
    if (isNext) part.receivedMs.push(this.#unixMs(atMs));
    else if (this.#parts.length === MAX_PARTS) return;
    else this.#parts.push({ first: sequence, receivedMs: [this.#unixMs(atMs)] });
    this.#count += 1;
  }

  #unixMs(atMs: number): number {
    return Math.round((this.#originMs + atMs) * 1_000) / 1_000;
  }
}

function aheadMs(): number {
  return Date.now() - performance.now();
}

/**
 * Send a report, once, when its stream has been read.
 *
 * Rejects with `RequestFailed` when it is refused, and with what fetch throws when there is no answer.
 */
export async function sendTimingReport(
  runId: string,
  report: TimingReport,
  { baseUrl = "/api", headers, fetch: send = fetch }: TimingTarget = {},
): Promise<void> {
  const own = new Headers(headers);
  own.set("Content-Type", "application/json");
  const url = `${baseUrl.replace(/\/+$/, "")}/runs/${encodeURIComponent(runId)}/timing`;
  const response = await send(url, { method: "POST", headers: own, body: JSON.stringify(report) });
  if (!response.ok) throw new RequestFailed(await readFailure(response));
}
