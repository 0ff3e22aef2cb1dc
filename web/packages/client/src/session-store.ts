// One module, since all of it changes one snapshot: the turns, the run that is read, and what waits for a stream.
import type { Client } from "./client.ts";
import { newId } from "./environment.ts";
import { RequestFailed, type Failure } from "./failure.ts";
import type { StreamEvent } from "./events.ts";
import { createPacer, type Pacer } from "./pacing.ts";
import type { TranscriptTurn } from "./records.ts";
import { isTerminal, replayRun, withReplay } from "./replay.ts";
import { DEFAULT_RETRY, RetryClock } from "./retry.ts";
import type { StartRequest } from "./run.ts";
import type { SendOptions, Session, SessionOptions, SessionSnapshot, SessionTurn } from "./session.ts";
import { SharedRun } from "./shared-run.ts";
import { type RunState, type Signal, startState } from "./stream-state.ts";
import type { Tabs } from "./tabs.ts";
import { mustFollow, turnOf } from "./transcript-turn.ts";

/** What tabs of one session tell each other. */
interface SaidElsewhere {
  readonly runId: string;
  readonly message: string;
  readonly createdAtMs: number | undefined;
}

const PAGE_SIZE = 100;
const DEFAULT_MAX_TURNS = 200;
const DEFAULT_REPLAY_TURNS = 5;

/** See {@link Session}. */
export class SessionStore implements Session {
  readonly #client: Client;
  readonly #options: SessionOptions;
  readonly #asker: Omit<StartRequest, "message">;
  readonly #maxTurns: number;
  readonly #timing: NonNullable<SessionOptions["timing"]>;
  readonly #replayTurns: number;
  readonly #scope: string;
  readonly #tabs: Tabs | undefined;
  #channel: BroadcastChannel | undefined;
  readonly #pacer: Pacer;
  readonly #listeners = new Set<() => void>();
  readonly #signalListeners = new Set<(signal: Signal, turn: SessionTurn) => void>();
  readonly #runs = new Map<string, SharedRun>();
  #turns: readonly SessionTurn[] = [];
  #history: Pick<SessionSnapshot, "history" | "historyFailure"> = {
    history: "idle",
    historyFailure: undefined,
  };
  #unsent: string | undefined;
  readonly #told = new Set<string>();
  #snapshot: SessionSnapshot;
  #loading: Promise<void> | undefined;
  readonly #closing = new AbortController();
  /** Reads the log of a run that has ended. */
  #reading: AbortController | undefined;
  #resumeReading: (() => void) | undefined;
  /** The server has no stream for that beside an answer's. */
  #readsAlone = false;

  /**
   * @param tabs - What the tabs of this browser share; undefined where pages can't know of each other.
   */
  constructor(client: Client, options: SessionOptions, tabs: Tabs | undefined) {
    this.#client = client;
    this.#options = options;
    const {
      pacing = "buffered",
      maxTurns = DEFAULT_MAX_TURNS,
      timing = false,
      replayTurns = DEFAULT_REPLAY_TURNS,
      share = true,
      ...asker
    } = options;
    this.#timing = timing;
    this.#replayTurns = replayTurns;
    this.#scope = typeof share === "string" ? share : "";
    this.#tabs = share === false ? undefined : tabs;
    this.#asker = asker;
    this.#maxTurns = maxTurns;
    this.#pacer = createPacer(pacing, this.#publish);
    this.#snapshot = this.#makeSnapshot();
  }

  get sessionId(): string {
    return this.#options.sessionId;
  }

  readonly getSnapshot = (): SessionSnapshot => this.#snapshot;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly listen: Session["listen"] = (listener) => {
    this.#signalListeners.add(listener);
    return () => this.#signalListeners.delete(listener);
  };

  readonly load = (): Promise<void> => {
    this.#loading ??= this.#load();
    return this.#loading;
  };

  readonly send = (message: string, options: SendOptions = {}): string | undefined => {
    const said = message.trim();
    if (said === "" || this.#isRunning() || this.#isClosed()) return undefined;
    const turn = this.#newTurn(said);
    this.#unsent = undefined;
    this.#turns = [...this.#turns, turn];
    this.#ask(turn.id, said, options);
    return turn.id;
  };

  readonly stop = (): void => {
    for (const run of this.#runs.values()) run.stop();
  };

  readonly retry = (turnId = this.#turns.at(-1)?.id): boolean => {
    const turn = this.#turns.find(({ id }) => id === turnId);
    if (turn?.run.outcome?.kind !== "failed" || this.#isRunning() || this.#isClosed()) return false;
    const run = this.#runs.get(turn.id);
    if (turn.run.outcome.failure.resumable && run !== undefined) {
      run.resume();
      return true;
    }
    if (turn.message === "") return false;
    run?.leave();
    this.#change(turn.id, () => ({ ...this.#newTurn(turn.message), id: turn.id }));
    this.#ask(turn.id, turn.message, {});
    return true;
  };

  readonly regenerate = (turnId = this.#turns.at(-1)?.id): string | undefined => {
    const turn = this.#turns.find(({ id }) => id === turnId);
    return turn === undefined ? undefined : this.send(turn.message);
  };

  readonly close = (): void => {
    this.#channel?.close();
    this.#closing.abort();
    this.#reading?.abort();
    this.#resumeReading?.();
    this.#pacer.close();
    for (const run of this.#runs.values()) run.leave();
    this.#runs.clear();
  };

  #newTurn(message: string): SessionTurn {
    const run = startState(performance.now());
    return { id: newId(), runId: undefined, message, createdAtMs: Date.now(), run };
  }

  #ask(turnId: string, message: string, options: SendOptions): void {
    this.#meetTabs();
    // What nobody reads for a while is in the transcript afterwards.
    this.#open(turnId).start({ onDisconnect: "continue", ...this.#asker, ...options, message });
    this.#pacer.flush();
  }

  #open(turnId: string): SharedRun {
    const onSignal = (signal: Signal, state: RunState) => {
      this.#hear(turnId, signal, state);
    };
    const run = new SharedRun({
      client: this.#client,
      tabs: this.#tabs,
      scope: this.#scope,
      timing: typeof this.#timing === "function" ? this.#timing() : this.#timing,
      onSignal,
      onSettled: () => {
        this.#tellTabs(turnId);
      },
    });
    this.#runs.set(turnId, run);
    this.#reading?.abort();
    return run;
  }

  /** Hear of what is said in other tabs, from the first time on that anything is said or loaded here. */
  #meetTabs(): void {
    if (this.#channel !== undefined || this.#tabs === undefined || this.#isClosed()) return;
    this.#channel = this.#tabs.openChannel(`tokenwire:${this.#scope}:session:${this.sessionId}`);
    this.#channel.onmessage = ({ data }: MessageEvent<SaidElsewhere>) => {
      const { runId, message, createdAtMs } = data;
      if (this.#turns.some((turn) => turn.runId === runId)) return;
      const turn = { ...this.#newTurn(message), id: runId, runId, createdAtMs };
      this.#turns = [...this.#turns, turn];
      this.#open(turn.id).follow(runId);
      this.#pacer.flush();
    };
  }

  /** Tell the other tabs of a run that was started here, once. */
  #tellTabs(turnId: string): void {
    const turn = this.#turns.find(({ id }) => id === turnId);
    if (turn?.runId === undefined || turn.id === turn.runId || turn.run.joined) return;
    const { runId, message, createdAtMs } = turn;
    if (this.#told.has(runId)) return;
    this.#told.add(runId);
    this.#channel?.postMessage({ runId, message, createdAtMs } satisfies SaidElsewhere);
  }

  #hear(turnId: string, signal: Signal, run: RunState): void {
    if (this.#isClosed()) return;
    this.#change(turnId, (turn) => ({ ...turn, runId: run.runId ?? turn.runId, run }));
    this.#yieldStream();
    const turn = this.#turns.find(({ id }) => id === turnId);
    if (turn === undefined) return;
    this.#dropTwin(turn);
    for (const listener of this.#signalListeners) listener(signal, turn);
    if (signal.kind === "joined") this.#join(turn, signal.runId);
    if (signal.kind === "event" && isText(signal.event)) this.#pacer.push(signal.event.tokens);
    else if (signal.kind === "event" && !isTerminal(signal.event)) this.#pacer.push(Infinity);
    else this.#pacer.flush();
  }

  /** The message of this turn was not sent, for another run goes on: it becomes that run's turn. */
  #join(turn: SessionTurn, runId: string): void {
    this.#unsent = turn.message;
    const shown = this.#turns.find((other) => other.runId === runId && other.id !== turn.id);
    if (shown !== undefined) {
      this.#drop(turn.id);
      // It may have been given up here: it goes on, as the server says.
      this.#runs.get(shown.id)?.resume();
      return;
    }
    this.#change(turn.id, (joined) => ({ ...joined, message: "", createdAtMs: undefined }));
    void this.#learnMessage(turn.id, runId);
  }

  /** The transcript has told of a run before its own answer named it: one of the two turns is enough. */
  #dropTwin({ id, runId, run }: SessionTurn): void {
    if (runId === undefined || id === runId || run.joined) return;
    if (this.#turns.some((other) => other.id === runId)) this.#drop(runId);
  }

  #drop(turnId: string): void {
    this.#turns = this.#turns.filter(({ id }) => id !== turnId);
    this.#runs.get(turnId)?.leave();
    this.#runs.delete(turnId);
    this.#yieldStream();
  }

  async #learnMessage(turnId: string, runId: string): Promise<void> {
    const records = await this.#readTranscript().catch(() => []);
    const record = records.find((other) => other.runId === runId);
    if (record === undefined || this.#isClosed()) return;
    this.#change(turnId, (turn) => ({ ...turn, message: record.message }));
    this.#pacer.flush();
  }

  async #load(): Promise<void> {
    this.#meetTabs();
    this.#tellHistory("loading");
    try {
      const records = await this.#readTranscript();
      if (this.#isClosed()) return;
      this.#merge(records);
      this.#tellHistory("loaded");
    } catch (error) {
      if (this.#isClosed()) return;
      this.#loading = undefined;
      this.#tellHistory("failed", error instanceof RequestFailed ? error.failure : undefined);
    }
  }

  #tellHistory(history: SessionSnapshot["history"], historyFailure?: Failure): void {
    this.#history = { history, historyFailure };
    this.#pacer.flush();
  }

  /** Return the newest turns of before, oldest first. */
  async #readTranscript(): Promise<readonly TranscriptTurn[]> {
    const { sessionId } = this.#options;
    const turns: TranscriptTurn[] = [];
    let pageToken = "";
    do {
      const page = await this.#readPage(sessionId, pageToken);
      turns.push(...page.turns);
      pageToken = page.nextPageToken;
    } while (pageToken !== "" && turns.length < this.#maxTurns && !this.#isClosed());
    return turns.slice(0, this.#maxTurns).reverse();
  }

  async #readPage(sessionId: string, pageToken: string) {
    const clock = new RetryClock(DEFAULT_RETRY, Math.random);
    const { signal } = this.#closing;
    for (;;) {
      try {
        return await this.#client.transcript(sessionId, {
          pageSize: PAGE_SIZE,
          pageToken,
          order: "newest",
          signal,
        });
      } catch (error) {
        if (!(error instanceof RequestFailed) || !error.failure.retryable || signal.aborted) throw error;
        const { retryAfterMs } = error.failure;
        const delayMs = clock.next({ nowMs: performance.now(), offline: false, retryAfterMs });
        if (delayMs === undefined) throw error;
        await sleep(delayMs, signal);
      }
    }
  }

  /** Put the turns of before in front of those that are here; follow the one that goes on. */
  #merge(records: readonly TranscriptTurn[]): void {
    const known = new Set(this.#turns.map(({ runId }) => runId));
    const before = records.filter(({ runId }) => !known.has(runId));
    this.#turns = [...before.map((record) => turnOf(record, performance.now())), ...this.#turns];
    for (const record of before) if (mustFollow(record)) this.#open(record.runId).follow(record.runId);
    const ended = before.filter((record) => !mustFollow(record) && record.first !== null);
    void this.#replay(ended.slice(Math.max(0, ended.length - this.#replayTurns)));
  }

  /** Bring back what no transcript holds, from the logs of runs that have ended: the newest first, one at a time. */
  async #replay(records: readonly TranscriptTurn[]): Promise<void> {
    for (const { runId } of records.toReversed()) {
      const replayed = await this.#readLog(runId);
      // A log that is gone was kept longer than those of older runs.
      if (replayed === undefined || this.#isClosed()) return;
      // Meanwhile the message may have been said anew in its place.
      this.#change(runId, (turn) =>
        turn.runId === runId ? { ...turn, run: withReplay(turn.run, replayed) } : turn,
      );
      this.#pacer.flush();
    }
  }

  /**
   * Read the log of a run that has ended, while no answer waits for its stream: the server may let a user have one
   * alone. What is interrupted by an answer is read again.
   */
  async #readLog(runId: string): Promise<RunState | undefined> {
    for (;;) {
      if (this.#isWaiting()) await new Promise<void>((resolve) => (this.#resumeReading = resolve));
      if (this.#isClosed()) return undefined;
      const reading = (this.#reading = new AbortController());
      const state = await replayRun(this.#client, runId, reading.signal, () => {
        if (!this.#isRunning()) return;
        this.#readsAlone = true;
        reading.abort();
      });
      this.#reading = undefined;
      if (!reading.signal.aborted || this.#isClosed()) return state;
    }
  }

  /** Leave streams to answers that wait for one; go on with reading logs when none does. */
  #yieldStream(): void {
    if (this.#isWaiting()) this.#reading?.abort();
    else this.#resumeReading?.();
  }

  #isWaiting(): boolean {
    if (this.#readsAlone) return this.#isRunning();
    return this.#turns.some(({ run }) => run.outcome === undefined && run.connection !== "connected");
  }

  #change(turnId: string, next: (turn: SessionTurn) => SessionTurn): void {
    const index = this.#turns.findLastIndex(({ id }) => id === turnId);
    const turn = this.#turns[index];
    if (turn !== undefined) this.#turns = this.#turns.with(index, next(turn));
  }

  #isRunning(): boolean {
    return this.#turns.some(({ run }) => run.outcome === undefined);
  }

  #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  readonly #publish = (): void => {
    this.#snapshot = this.#makeSnapshot();
    for (const listener of this.#listeners) listener();
  };

  #makeSnapshot(): SessionSnapshot {
    const newest = this.#turns.at(-1)?.run;
    return {
      sessionId: this.#options.sessionId,
      turns: this.#turns,
      status: newest?.status ?? "idle",
      connection: newest?.connection ?? "closed",
      running: this.#isRunning(),
      ...this.#history,
      unsent: this.#unsent,
    };
  }
}

type Text = Extract<StreamEvent, { type: "text_delta" | "reasoning_delta" }>;

function isText(event: StreamEvent): event is Text {
  return event.type === "text_delta" || event.type === "reasoning_delta";
}

/** Return after that many milliseconds, or as soon as the signal aborts. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
