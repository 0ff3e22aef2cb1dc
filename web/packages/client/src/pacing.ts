/** How often what has arrived is shown. */
export type PacingStrategy = "immediate" | "buffered" | "debounced";

/** A strategy and its measures. */
export interface PacingOptions {
  /**
   * `immediate`: each event at once; the most responsive, and the most renders: for short answers.
   * `buffered`: some tokens together, in the next frame: smooth, for long answers.
   * `debounced`: when the stream pauses, or much has come: the fewest renders, for very long answers.
   */
  readonly strategy: PacingStrategy;
  /** Tokens that are shown together at the latest. Default: 5 buffered, 200 debounced. */
  readonly tokens?: number;
  /** Milliseconds: from the first token when buffered (default 50), from the last when debounced (150). */
  readonly delayMs?: number;
}

/** Time and frames, as the pacer needs them. Both return what takes the order back. */
export interface PacingClock {
  /** Call back after so many milliseconds; returns what prevents it. */
  readonly after: (ms: number, callback: () => void) => () => void;
  /** Call back before the next frame is drawn; returns what prevents it. */
  readonly onFrame: (callback: () => void) => () => void;
}

/** Decides when to show what has arrived. Holds a timer or a frame only while something waits. */
export interface Pacer {
  /** Something has arrived that may wait: so many tokens of text. */
  readonly push: (tokens: number) => void;
  /** Show what waits now: at the end, on Stop, and for what is not text. */
  readonly flush: () => void;
  /** Show nothing any more. */
  readonly close: () => void;
}

const DEFAULTS = {
  immediate: { tokens: 1, delayMs: 0 },
  buffered: { tokens: 5, delayMs: 50 },
  debounced: { tokens: 200, delayMs: 150 },
} as const;

/** Return a pacer that calls `show` as the strategy says, never more than once for the same arrivals. */
export function createPacer(
  options: PacingStrategy | PacingOptions,
  show: () => void,
  clock: PacingClock = browserClock,
): Pacer {
  const { strategy, ...measures } = typeof options === "string" ? { strategy: options } : options;
  const { tokens, delayMs } = { ...DEFAULTS[strategy], ...measures };
  return new StrategyPacer(strategy, tokens, delayMs, show, clock);
}

class StrategyPacer implements Pacer {
  readonly #strategy: PacingStrategy;
  readonly #tokens: number;
  readonly #delayMs: number;
  readonly #show: () => void;
  readonly #clock: PacingClock;
  #waiting = 0;
  #cancelTimer: (() => void) | undefined;
  #cancelFrame: (() => void) | undefined;
  #closed = false;

  constructor(
    strategy: PacingStrategy,
    tokens: number,
    delayMs: number,
    show: () => void,
    clock: PacingClock,
  ) {
    this.#strategy = strategy;
    this.#tokens = tokens;
    this.#delayMs = delayMs;
    this.#show = show;
    this.#clock = clock;
  }

  readonly push = (tokens: number): void => {
    if (this.#closed) return;
    this.#waiting += tokens;
    if (this.#strategy === "immediate") this.flush();
    else if (this.#cancelFrame !== undefined) return;
    else if (this.#waiting >= this.#tokens) this.#showInFrame();
    else this.#startTimer();
  };

  readonly flush = (): void => {
    if (this.#closed) return;
    this.#forget();
    this.#show();
  };

  readonly close = (): void => {
    this.#closed = true;
    this.#forget();
  };

  #startTimer(): void {
    if (this.#strategy === "buffered" && this.#cancelTimer !== undefined) return;
    this.#cancelTimer?.();
    this.#cancelTimer = this.#clock.after(this.#delayMs, this.#showInFrame);
  }

  readonly #showInFrame = (): void => {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#cancelFrame = this.#clock.onFrame(this.flush);
  };

  #forget(): void {
    this.#waiting = 0;
    this.#cancelTimer?.();
    this.#cancelFrame?.();
    this.#cancelTimer = this.#cancelFrame = undefined;
  }
}

// A tab in the background gets no animation frames: then this bounds how stale it becomes.
const HIDDEN_TAB_MS = 250;
const FRAME_MS = 16;

/** Frames of this page; where there are none, timers. */
export const browserClock: PacingClock = {
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => {
      clearTimeout(timer);
    };
  },
  onFrame: (callback) => {
    const hasFrames = typeof requestAnimationFrame === "function";
    const cancel = () => {
      if (hasFrames) cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
    const once = () => {
      cancel();
      callback();
    };
    const frame = hasFrames ? requestAnimationFrame(once) : 0;
    const timer = setTimeout(once, hasFrames ? HIDDEN_TAB_MS : FRAME_MS);
    return cancel;
  },
};
