/** When to try again, and when to give up. */
export interface RetryPolicy {
  /** Milliseconds of trouble after which the loss is shown; time that the browser is offline does not count. */
  readonly budgetMs: number;
  /** The first pause lies between 0 and this, in milliseconds; the range doubles with each attempt. */
  readonly firstMs: number;
  /** The longest range of a pause, in milliseconds. */
  readonly capMs: number;
  /** Fixed pauses in milliseconds instead: as many attempts as there are pauses, whatever the budget. */
  readonly delaysMs?: readonly number[];
}

/** A minute, with full jitter. */
export const DEFAULT_RETRY: RetryPolicy = { budgetMs: 60_000, firstMs: 500, capMs: 8_000 };

/** Three tries, after 1, 2 and 4 seconds. */
export const THREE_TRIES: Partial<RetryPolicy> = { delaysMs: [1_000, 2_000, 4_000] };

// A computer that slept between two attempts has not tried meanwhile: such a gap counts as this much.
const LONGEST_STEP_MS = 45_000;
// Clients that were told the same second should not all come in it.
const RETRY_AFTER_SPREAD = 0.25;

/** What is known when an attempt has failed. */
export interface FailedAttempt {
  /** This page's clock, in milliseconds. */
  readonly nowMs: number;
  /** The browser says that it has no network. */
  readonly offline: boolean;
  /** The server's last `retry:`, in milliseconds: it is spread by the server. */
  readonly retryMs?: number | undefined;
  /** The refusal's `Retry-After`, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
}

/** Counts the attempts and the time of one spell of trouble. Pure: time and chance come from outside. */
export class RetryClock {
  readonly #policy: RetryPolicy;
  readonly #random: () => number;
  #attempt = 0;
  #spentMs = 0;
  #lastMs: number | undefined;
  #wasOffline = false;

  constructor(policy: RetryPolicy, random: () => number) {
    this.#policy = policy;
    this.#random = random;
  }

  /** The attempts of this spell of trouble; 0 when there is none. */
  get attempt(): number {
    return this.#attempt;
  }

  /** The trouble is over, or there is reason to hope anew. */
  reset(): void {
    this.#attempt = 0;
    this.#spentMs = 0;
    this.#lastMs = undefined;
    this.#wasOffline = false;
  }

  /** Return the milliseconds to wait before the next attempt, or undefined when it is time to give up. */
  next({ nowMs, offline, retryMs, retryAfterMs = 0 }: FailedAttempt): number | undefined {
    const { delaysMs, budgetMs, firstMs, capMs } = this.#policy;
    if (this.#lastMs !== undefined && !this.#wasOffline) {
      this.#spentMs += Math.min(nowMs - this.#lastMs, LONGEST_STEP_MS);
    }
    this.#lastMs = nowMs;
    this.#wasOffline = offline;
    const before = this.#attempt++;
    const wanted = retryAfterMs * (1 + this.#random() * RETRY_AFTER_SPREAD);
    if (delaysMs !== undefined) {
      const delay = delaysMs[before];
      return delay === undefined ? undefined : Math.max(delay, wanted);
    }
    const left = offline ? Infinity : budgetMs - this.#spentMs;
    if (left <= 0 || wanted > left) return undefined;
    // The server has spread its first `retry:` itself.
    const pause = this.#random() * Math.min(firstMs * 2 ** before, capMs);
    const own = retryMs === undefined ? pause : before === 0 ? retryMs : Math.max(retryMs, pause);
    return Math.min(Math.max(own, wanted), left);
  }
}
