import type { StreamEvent } from "../events.ts";
import type { Signal } from "../stream-state.ts";
import { blame, hopTimes, LATENCY_HOPS, type LatencyHop, lesser, type Stamps } from "./blame.ts";

export { LATENCY_HOPS, type LatencyHop };

/** One token, or a few that came in one event. */
export interface TokenRow {
  /** Its place in the run: what its SSE id ends in. */
  readonly sequence: number;
  /** When the page received it, in milliseconds after the request. */
  readonly atMs: number;
  /** Since the token before; absent for the first one, and behind a tool call or a lost connection. */
  readonly gapMs?: number;
  /** The hop that most of the gap is due to; absent where there is no gap. */
  readonly hop?: LatencyHop;
}

/** A gap that was longer than a stream may have. */
export interface TokenStall {
  /** The sequence of the token that came late. */
  readonly sequence: number;
  /** When the page received it, in milliseconds after the request. */
  readonly atMs: number;
  /** The time since the token before, in milliseconds. */
  readonly gapMs: number;
  /** The hop that caused most of the gap. */
  readonly hop: LatencyHop;
}

/** Of some times, in milliseconds. */
export interface Spread {
  /** The median. */
  readonly p50: number;
  /** The 99th percentile. */
  readonly p99: number;
  /** The longest. */
  readonly max: number;
}

/** For each hop, how long the tokens took in it; for `model`, the gap there. */
export type HopTimes = Readonly<Record<LatencyHop, Spread | undefined>>;

/** What the panel says of an answer so far. */
export interface LatencySummary {
  /** Model tokens that came live. */
  readonly tokens: number;
  /** Tokens that were in the log already when they were asked for: they have no latency. */
  readonly replayed: number;
  /** Tokens without stamps: of a stream that was not asked for any. */
  readonly unstamped: number;
  /** From the request to the first token. Undefined before it, and where its answer was joined or watched only later. */
  readonly firstTokenMs: number | undefined;
  /** The rate since the first token. Undefined before the second one. */
  readonly tokensPerSecond: number | undefined;
  /** The times between tokens. Undefined before the second one. */
  readonly gap: Spread | undefined;
  /**
   * `page` counts from the fastest token of each stream on, for the clocks of page and edge may differ by any time; so does `link`
   * where a token would have arrived before it was sent.
   */
  readonly hops: HopTimes;
  /** The number of all stalls. */
  readonly stallCount: number;
  /** The newest 32 of them. */
  readonly stalls: readonly TokenStall[];
}

/** Options of {@link AnswerLatency}. */
export interface AnswerLatencyOptions {
  /** When the answer was asked for, by the clock of `performance.now()`. */
  readonly startedAtMs: number;
  /** The run was started elsewhere or before: what comes first is a replay. Default false. */
  readonly joined?: boolean;
  /** The longest gap that is no stall, in milliseconds. Default 250, as an edge's. */
  readonly stallMs?: number;
  /** What makes a signal's `atMs` Unix milliseconds. Default: this page's `performance.timeOrigin`. */
  readonly originMs?: number;
}

/** The rows that are kept, the newest: a bound for memory and drawing. */
const MAX_ROWS = 5_000;
const MAX_STALLS = 32;

const STAGES = ["model", "logged", "send", "recv"] as const;

type Delta = Extract<StreamEvent, { type: "text_delta" | "reasoning_delta" }>;

/** The latency of one answer's tokens, from its signals. Pure: all times come from outside. */
export class AnswerLatency {
  readonly #startedAtMs: number;
  readonly #stallMs: number;
  readonly #originMs: number;
  #stalls: readonly TokenStall[] = [];
  #stallCount = 0;
  #rows: TokenRow[] = [];
  /** Of each row, its stream, and the time in each hop; NaN for the model's where there is no gap. */
  #times: { readonly stream: TimedStream; readonly times: readonly number[] }[] = [];
  #stream: TimedStream = {};
  #before: Stamps | undefined;
  #opened = false;
  /** Events come from the log, until `caught_up`. */
  #isReplay: boolean;
  #tokens = 0;
  #firstTokens = 0;
  #replayed = 0;
  #unstamped = 0;
  #firstAtMs: number | undefined;
  #lastAtMs = 0;
  #joined: boolean;

  constructor(options: AnswerLatencyOptions) {
    const { startedAtMs, joined = false, stallMs = 250, originMs = performance.timeOrigin } = options;
    this.#startedAtMs = startedAtMs;
    this.#joined = joined;
    this.#stallMs = stallMs;
    this.#originMs = originMs;
    this.#isReplay = joined;
  }

  /** Live tokens, oldest first: the newest 5,000 at least. The array grows in place. */
  get rows(): readonly TokenRow[] {
    return this.#rows;
  }

  /** Take a signal of the run: from `RunOptions.onSignal`, or a session's `listen`. */
  take(signal: Signal): void {
    if (signal.kind === "opened") this.#open();
    else if (signal.kind === "joined") this.#isReplay = this.#joined = true;
    else if (signal.kind === "gap") this.#break();
    else if (signal.kind === "control" && signal.frame.control === "caught_up") this.#isReplay = false;
    else if (signal.kind === "event") this.#takeEvent(signal);
  }

  /** Return what is known so far. */
  summary(): LatencySummary {
    return {
      tokens: this.#tokens,
      replayed: this.#replayed,
      unstamped: this.#unstamped,
      firstTokenMs:
        this.#firstAtMs === undefined || this.#joined ? undefined : this.#firstAtMs - this.#startedAtMs,
      tokensPerSecond: this.#rate(),
      gap: spreadOf(this.#rows.flatMap(({ gapMs }) => gapMs ?? [])),
      hops: this.#hops(),
      stallCount: this.#stallCount,
      stalls: this.#stalls,
    };
  }

  #open(): void {
    // A stream that is taken up again begins with what was missed.
    if (this.#opened) this.#isReplay = true;
    this.#opened = true;
    // The computer may have slept meanwhile, and the page's clock with it.
    this.#stream = {};
    this.#break();
  }

  /** The next token comes behind something else than a token: there is no gap before it. */
  #break(): void {
    this.#before = undefined;
  }

  #takeEvent({ event, atMs, cursor }: Extract<Signal, { kind: "event" }>): void {
    // Watched only after the stream was opened: nobody knows here which token was the first.
    if (!this.#opened && !this.#joined) this.#opened = this.#joined = true;
    if (event.type === "tool_start" || event.type === "tool_result") this.#break();
    const stamps = stampsOf(event, this.#originMs + atMs);
    if (event.type !== "text_delta" && event.type !== "reasoning_delta") return;
    if (stamps === undefined) this.#unstamped += event.tokens;
    else if (this.#isReplay) this.#replayed += event.tokens;
    else this.#add(event, stamps, atMs, cursor?.sequence ?? 0);
  }

  #add(event: Delta, stamps: Stamps, receivedAtMs: number, sequence: number): void {
    const atMs = receivedAtMs - this.#startedAtMs;
    const times = hopTimes(stamps);
    const stream = this.#stream;
    const least = (stream.least ??= times);
    const before = this.#before;
    if (before === undefined) {
      this.#rows.push({ sequence, atMs });
      this.#times.push({ stream, times: [NaN, ...times] });
    } else {
      const gapMs = stamps[4] - before[4];
      const hop = blame(stamps, before, least);
      this.#rows.push({ sequence, atMs, gapMs, hop });
      this.#times.push({ stream, times: [stamps[0] - before[0], ...times] });
      if (gapMs > this.#stallMs) this.#stall({ sequence, atMs, gapMs, hop });
    }
    stream.least = lesser(times, least);
    this.#before = stamps;
    this.#count(event.tokens, receivedAtMs);
    // Half at once: to shift a long array for each token is work.
    if (this.#rows.length > MAX_ROWS * 1.5) {
      this.#rows = this.#rows.slice(-MAX_ROWS);
      this.#times = this.#times.slice(-MAX_ROWS);
    }
  }

  #stall(stall: TokenStall): void {
    this.#stallCount += 1;
    this.#stalls = [...this.#stalls.slice(1 - MAX_STALLS), stall];
  }

  #count(tokens: number, atMs: number): void {
    this.#tokens += tokens;
    if (this.#firstAtMs === undefined) this.#firstTokens = tokens;
    this.#firstAtMs ??= atMs;
    this.#lastAtMs = atMs;
  }

  /** The first event begins the interval, so its tokens are not counted in it. */
  #rate(): number | undefined {
    const seconds = (this.#lastAtMs - (this.#firstAtMs ?? this.#lastAtMs)) / 1_000;
    return seconds > 0 ? (this.#tokens - this.#firstTokens) / seconds : undefined;
  }

  #hops(): HopTimes {
    const spreads = LATENCY_HOPS.map((hop, index) => {
      const times = this.#times.map(({ stream, times }) => (times[index] ?? NaN) - shiftOf(hop, stream));
      return [hop, spreadOf(times.filter((time) => !Number.isNaN(time)))];
    });
    return Object.fromEntries(spreads) as HopTimes;
  }
}

/** What each hop but the model's took at least in one stream. */
interface TimedStream {
  least?: readonly number[];
}

/** Return what to take off the times in a hop for clocks that differ. */
function shiftOf(hop: LatencyHop, { least = [] }: TimedStream): number {
  const [, , link = 0, page = 0] = least;
  return hop === "page" ? page : hop === "link" ? Math.min(0, link) : 0;
}

function stampsOf({ timing }: StreamEvent, receivedMs: number): Stamps | undefined {
  const stamps = STAGES.map((stage) => timing?.[stage]);
  const areNumbers = stamps.every((stamp) => typeof stamp === "number");
  return areNumbers ? ([...stamps, receivedMs] as unknown as Stamps) : undefined;
}

function spreadOf(times: readonly number[]): Spread | undefined {
  if (times.length === 0) return undefined;
  // Several times as fast as an array with a comparison: a page does this beside what it measures.
  const sorted = Float64Array.from(times).sort();
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}
