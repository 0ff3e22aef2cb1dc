import {
  createClient,
  type RequestHeaders,
  reduce,
  type Signal,
  type StartRequest,
  type StreamState,
  startState,
} from "@tokenwire/client";
import { ApiKey, wantsKey } from "./api-key.ts";
import { onNextFrame } from "./frame-scheduler.ts";
import { newId } from "./new-id.ts";

/** A question and what has come of it. */
export interface Turn {
  readonly id: string;
  readonly question: string;
  readonly state: StreamState;
}

export interface Chat {
  readonly turns: readonly Turn[];
  /** A run goes on; there is never more than one. */
  readonly running: boolean;
}

export interface ChatRun {
  resume(): void;
  stop(): void;
}

export interface ChatRunOptions {
  readonly headers: RequestHeaders;
  readonly onSignal: (signal: Signal) => void;
}

type OpenRun = (request: StartRequest, options: ChatRunOptions) => ChatRun;

export interface ChatStoreOptions {
  readonly sessionId: string;
  /** Who is to answer; absent for the server's default. */
  readonly agent?: string;
  readonly apiKey?: ApiKey;
  /** Ask, and hear of the answer. */
  readonly openRun?: OpenRun;
  readonly schedule?: (callback: () => void) => void;
  readonly now?: () => number;
}

/**
 * The page's turns.
 *
 * Signals change the state at once; the page hears of them once per frame,
 * however many tokens a frame brings.
 */
export class ChatStore {
  readonly #asker: Pick<StartRequest, "sessionId" | "agent">;
  readonly #apiKey: ApiKey;
  readonly #openRun: OpenRun;
  readonly #schedule: (callback: () => void) => void;
  readonly #now: () => number;
  readonly #listeners = new Set<() => void>();
  readonly #runs = new Map<string, ChatRun>();
  #turns: readonly Turn[] = [];
  #chat: Chat = { turns: [], running: false };
  #scheduled = false;

  constructor(options: ChatStoreOptions) {
    const { sessionId, agent } = options;
    this.#asker = agent === undefined ? { sessionId } : { sessionId, agent };
    this.#apiKey = options.apiKey ?? new ApiKey(undefined);
    this.#openRun = options.openRun ?? openRun;
    this.#schedule = options.schedule ?? onNextFrame;
    this.#now = options.now ?? (() => performance.now());
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getChat = (): Chat => this.#chat;

  /** Ask; return whether there was something to ask and nothing running. */
  readonly send = (text: string): boolean => {
    const question = text.trim();
    if (question === "" || this.#running()) return false;
    const turn = { id: newId(), question, state: startState(this.#now()) };
    this.#turns = [...this.#turns, turn];
    this.#ask(turn);
    return true;
  };

  readonly stop = (): void => {
    const turn = this.#turns.at(-1);
    if (turn === undefined) return;
    this.#runs.get(turn.id)?.stop();
    this.#publish();
  };

  /** Take a lost stream up again, or ask the same question anew in the same place. */
  readonly retry = (turnId: string): void => {
    const turn = this.#turns.find(({ id }) => id === turnId);
    if (turn?.state.outcome?.kind !== "failed" || this.#running()) return;
    if (turn.state.outcome.failure.resumable) {
      this.#runs.get(turnId)?.resume();
      this.#publish();
      return;
    }
    this.#change(turnId, () => startState(this.#now()));
    this.#ask(turn);
  };

  /** Use a key from now on, and do with it what was refused without. */
  readonly useKey = (key: string): void => {
    this.#apiKey.use(key);
    const refused = this.#turns.findLast(({ state }) => isRefused(state));
    if (refused !== undefined) this.retry(refused.id);
  };

  #ask({ id, question }: Turn): void {
    const request = { message: question, ...this.#asker };
    const run = this.#openRun(request, {
      headers: this.#apiKey.headers,
      onSignal: (signal) => {
        this.#hear(id, signal);
      },
    });
    this.#runs.set(id, run);
    this.#publish();
  }

  #hear(turnId: string, signal: Signal): void {
    if (signal.kind === "failed" && wantsKey(signal.failure)) this.#apiKey.refuse();
    this.#change(turnId, (state) => reduce(state, signal));
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => {
      this.#scheduled = false;
      this.#publish();
    });
  }

  #change(turnId: string, next: (state: StreamState) => StreamState): void {
    const index = this.#turns.findLastIndex(({ id }) => id === turnId);
    const turn = this.#turns[index];
    if (turn !== undefined) this.#turns = this.#turns.with(index, { ...turn, state: next(turn.state) });
  }

  #running(): boolean {
    return this.#turns.some(({ state }) => state.outcome === undefined);
  }

  #publish(): void {
    this.#chat = { turns: this.#turns, running: this.#running() };
    for (const listener of this.#listeners) listener();
  }
}

function openRun(request: StartRequest, { headers, onSignal }: ChatRunOptions): ChatRun {
  return createClient({ headers }).startRun(request, { onSignal });
}

function isRefused({ outcome }: StreamState): boolean {
  return outcome?.kind === "failed" && wantsKey(outcome.failure);
}
