import type { Client } from "./client.ts";
import { newId } from "./environment.ts";
import type { SseMessage } from "./parse-event.ts";
import type { Run, RunOptions, StartRequest } from "./run.ts";
import { RunReader } from "./run-reader.ts";
import { reduce, type RunState, type Signal, startState } from "./stream-state.ts";
import type { Tabs } from "./tabs.ts";

/** What the tabs that show one run tell each other. */
type Letter =
  /** From a tab that wants to listen: what came after this event? */
  | { readonly kind: "join"; readonly from: string; readonly after: string | undefined }
  /** To that tab: all of it, or undefined when the reader does not have it any more. */
  | { readonly kind: "backfill"; readonly to: string; readonly messages: readonly SseMessage[] | undefined }
  | { readonly kind: "messages"; readonly messages: readonly SseMessage[] }
  /** How the reader's connection and its Stop fare; `to`: news for that tab alone. */
  | { readonly kind: "signal"; readonly signal: Signal; readonly to?: string }
  /** From a listener: Stop. */
  | { readonly kind: "stop" }
  /** The reader is there, though nothing comes. */
  | { readonly kind: "alive" };

/** Signals of the reader that are true for its listeners, too. */
const TOLD: ReadonlySet<Signal["kind"]> = new Set([
  "opened",
  "reconnecting",
  "stop_requested",
  "stop_failed",
]);

/** How long a tab waits for the reader to answer, in milliseconds. */
const ANSWER_MS = 2_000;
/** How often the reader says that it is there, and after how much silence it counts as frozen. */
const ALIVE_MS = 5_000;
const FROZEN_MS = 20_000;
/** How long the tab that has read the end keeps the others from reading it, too. */
const SETTLE_MS = 1_000;
/** What a reader keeps for tabs that join, in characters. Beyond, they read for themselves. */
const MAX_KEPT = 4_000_000;

/** What a run that may be shared needs. */
export interface SharedRunOptions {
  readonly client: Client;
  /** Undefined where tabs can't know of each other: each reads for itself. */
  readonly tabs: Tabs | undefined;
  /** Stands before the names of locks and channels: what must not be shared differs in it. */
  readonly scope: string;
  readonly timing: boolean;
  readonly onSignal: (signal: Signal, state: RunState) => void;
  /**
   * Called when it is settled which tab reads the run: other tabs may be told of it now.
   *
   * Earlier, one of them could be faster to the lock than the tab whose stream is open already.
   */
  readonly onSettled: () => void;
}

/**
 * One run, read by one tab of the browser and shown by all that want to.
 *
 * The tab that holds the run's lock reads and passes on what it reads; the others listen, each with a cursor of
 * its own. When the reader goes, for whatever reason, the browser gives the lock to the next, which reads on at
 * its own cursor: nothing is missed, nothing comes twice.
 */
export class SharedRun {
  readonly #options: SharedRunOptions;
  readonly #id = newId();
  #state: RunState;
  /** The reading of this tab; undefined while it listens. */
  #own: Run | undefined;
  /** The place up to which this tab has heard; used while it listens. */
  #reader: RunReader | undefined;
  #runId: string | undefined;
  #channel: BroadcastChannel | undefined;
  #kept: SseMessage[] | undefined = [];
  #keptSize = 0;
  #leading = false;
  #listening: AbortController | undefined;
  #filled = false;
  #release: (() => void) | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #beat: ReturnType<typeof setInterval> | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #stopTimer: ReturnType<typeof setTimeout> | undefined;
  #left = false;

  constructor(options: SharedRunOptions) {
    this.#options = options;
    this.#state = startState(performance.now());
  }

  /** Start a run, and share it as soon as it has a name. */
  start(request: StartRequest): void {
    this.#own = this.#options.client.startRun(request, this.#runOptions());
  }

  /** Show a run that is known: listen to the tab that reads it, or read it. */
  follow(runId: string): void {
    this.#share(runId);
  }

  /** Cancel the run, wherever it is read. */
  stop(): void {
    if (this.#own !== undefined) {
      this.#own.stop();
      return;
    }
    if (this.#runId === undefined || this.#state.stopping || this.#state.outcome !== undefined) return;
    const runId = this.#runId;
    this.#emit({ kind: "stop_requested" });
    // The reader frees its connection first: over HTTP/1.1 this tab's request might wait behind it.
    this.#send({ kind: "stop" });
    this.#stopTimer = setTimeout(() => void this.#cancel(runId), ANSWER_MS);
  }

  /** Take a run up again that was given up. */
  resume(): void {
    if (this.#own !== undefined) this.#own.resume();
    if (this.#runId !== undefined && this.#channel === undefined) this.#share(this.#runId);
  }

  /** Stop reading or listening, and nothing else. */
  leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#rest();
    this.#own?.leave();
  }

  #runOptions(): RunOptions {
    return {
      timing: this.#options.timing,
      keepEvents: false,
      onMessages: this.#passOn,
      onSignal: this.#hearOwn,
    };
  }

  readonly #hearOwn = (signal: Signal): void => {
    if (signal.kind === "left") return;
    this.#emit(signal);
    // The stream is this tab's: no other may report when its events came.
    const told = signal.kind === "opened" ? { ...signal, timingToken: undefined } : signal;
    if (this.#leading && TOLD.has(told.kind)) this.#send({ kind: "signal", signal: told });
    if (signal.kind === "joined") this.#forgetName();
    const { runId } = this.#state;
    if (runId !== undefined && this.#runId !== runId && this.#state.outcome === undefined) this.#share(runId);
  };

  /** Keep what was read for tabs that join later, and tell those that listen. */
  readonly #passOn = (messages: readonly SseMessage[]): void => {
    this.#keep(messages);
    if (this.#leading) this.#send({ kind: "messages", messages });
  };

  #keep(messages: readonly SseMessage[]): void {
    for (const message of messages) {
      // A log that goes on elsewhere than it broke off can't be told again from what was kept.
      if (message.event === "resync") this.#kept = undefined;
      if (message.id === undefined || this.#kept === undefined) continue;
      this.#kept.push(message);
      this.#keptSize += message.data.length;
    }
    if (this.#keptSize > MAX_KEPT) this.#kept = undefined;
  }

  #share(runId: string): void {
    this.#runId = runId;
    const { tabs, scope } = this.#options;
    if (tabs === undefined) {
      this.#readAlone();
      return;
    }
    const name = `tokenwire:${scope}:run:${runId}`;
    this.#channel = tabs.openChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Letter>) => {
      this.#hearLetter(data);
    };
    const listening = (this.#listening = new AbortController());
    const lead = () => this.#lead(listening);
    const tryFirst = tabs.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock !== null) return lead();
      if (listening.signal.aborted) return undefined;
      this.#listen(runId);
      tabs.locks.request(name, { signal: listening.signal }, lead).catch(ignore);
      return undefined;
    });
    // Locks are refused in documents that are not active any more.
    tryFirst.catch(() => {
      this.#readAlone();
    });
  }

  /** Read, and hold the lock until this tab is done with it. */
  #lead(listening: AbortController): Promise<void> | undefined {
    if (listening.signal.aborted) return undefined;
    this.#leading = true;
    this.#options.onSettled();
    clearTimeout(this.#silence);
    this.#beat = setInterval(() => {
      this.#send({ kind: "alive" });
    }, ALIVE_MS);
    this.#readOwn();
    // The tabs that joined before there was a reader ask again.
    this.#send({ kind: "alive" });
    return new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  #readOwn(): void {
    if (this.#own !== undefined || this.#runId === undefined) return;
    const after = this.#reader?.cursor;
    const { stopping } = this.#state;
    this.#own = this.#options.client.followRun(this.#runId, { ...this.#runOptions(), after });
    // The tab that was to do it may have gone before it did.
    if (stopping) this.#own.stop();
  }

  #listen(runId: string): void {
    this.#reader = new RunReader(this.#emit, runId, this.#own?.cursor ?? this.#reader?.cursor);
    this.#own?.leave();
    this.#own = undefined;
    this.#filled = false;
    this.#options.onSettled();
    this.#join();
  }

  #join(): void {
    this.#send({ kind: "join", from: this.#id, after: this.#reader?.cursor });
    this.#watch(ANSWER_MS);
  }

  /** Read for this tab alone, since there is no other to listen to, or it can't help. */
  readonly #readAlone = (): void => {
    if (this.#left || this.#leading || this.#state.outcome !== undefined) return;
    this.#rest();
    this.#readOwn();
  };

  #hearLetter(letter: Letter): void {
    if (this.#leading) this.#answer(letter);
    else if (this.#own === undefined) this.#hear(letter);
  }

  #answer(letter: Letter): void {
    if (letter.kind === "stop") this.#own?.stop();
    if (letter.kind !== "join") return;
    this.#send({ kind: "backfill", to: letter.from, messages: this.#keptAfter(letter.after) });
    const { connection, attempt } = this.#state;
    const isOpen = connection === "connected" || connection === "connecting";
    const signal: Signal = isOpen
      ? { kind: "opened", runId: this.#runId, traceId: this.#state.traceId }
      : { kind: "reconnecting", attempt };
    this.#send({ kind: "signal", signal, to: letter.from });
  }

  /** Return what came after an event: all, for a cursor that is not among what was kept is passed over. */
  #keptAfter(after: string | undefined): readonly SseMessage[] | undefined {
    if (this.#kept === undefined || after === undefined) return this.#kept;
    const index = this.#kept.findIndex(({ id }) => id === after);
    return index < 0 ? this.#kept : this.#kept.slice(index + 1);
  }

  #hear(letter: Letter): void {
    if (letter.kind === "backfill") {
      if (letter.to !== this.#id) return;
      if (letter.messages === undefined) {
        this.#readAlone();
        return;
      }
      this.#filled = true;
      this.#takeAll(letter.messages);
      this.#emit({ kind: "control", frame: { control: "caught_up", cursor: this.#reader?.cursor ?? "" } });
    } else if (letter.kind === "alive" && !this.#filled) {
      this.#join();
      return;
    } else if (letter.kind === "messages" && this.#filled) this.#takeAll(letter.messages);
    else if (letter.kind === "signal" && this.#filled && (letter.to ?? this.#id) === this.#id)
      this.#hearSignal(letter.signal);
    if (this.#filled && this.#own === undefined) this.#watch(FROZEN_MS);
  }

  #hearSignal(signal: Signal): void {
    // The reader has heard of the Stop: this tab need not ask the server itself.
    if (signal.kind === "stop_requested") clearTimeout(this.#stopTimer);
    if (signal.kind !== "stop_requested" || !this.#state.stopping) this.#emit(signal);
  }

  #takeAll(messages: readonly SseMessage[]): void {
    this.#keep(messages);
    for (const message of messages) {
      const end = this.#reader?.take(message, performance.now());
      // What the reader can't cut for us, the server can.
      if (end?.kind === "overlap") this.#readAlone();
      if (end !== undefined && end.kind !== "broken") return;
    }
  }

  async #cancel(runId: string): Promise<void> {
    try {
      await this.#options.client.cancelRun(runId);
    } catch {
      this.#emit({ kind: "stop_failed" });
    }
  }

  #watch(ms: number): void {
    clearTimeout(this.#silence);
    if (this.#state.outcome === undefined && !this.#left) this.#silence = setTimeout(this.#readAlone, ms);
  }

  #send(letter: Letter): void {
    this.#channel?.postMessage(letter);
  }

  /** Another run is shown than the one that was asked for: nothing of this one is known to other tabs. */
  #forgetName(): void {
    this.#rest();
    this.#runId = undefined;
    this.#kept = [];
    this.#keptSize = 0;
  }

  /** Have nothing to do with other tabs any more. */
  #rest(): void {
    clearTimeout(this.#silence);
    clearTimeout(this.#stopTimer);
    clearInterval(this.#beat);
    this.#listening?.abort();
    this.#channel?.close();
    this.#channel = undefined;
    clearTimeout(this.#settling);
    this.#leading = false;
    this.#release?.();
    this.#release = undefined;
  }

  readonly #settle = (): void => {
    this.#kept = undefined;
    this.#rest();
  };

  readonly #emit = (signal: Signal): void => {
    if (this.#left) return;
    this.#state = reduce(this.#state, signal);
    this.#options.onSignal(signal, this.#state);
    if (this.#state.outcome === undefined) return;
    // The lock would overtake the message that tells the others of the end, and they would ask the server for it.
    const hasRead = this.#leading && signal.kind === "event";
    if (hasRead) this.#settling = setTimeout(this.#settle, SETTLE_MS);
    else if (signal.kind === "event") this.#settle();
    else this.#rest();
  };
}

function ignore(): void {
  // The lock is not wanted any more.
}
