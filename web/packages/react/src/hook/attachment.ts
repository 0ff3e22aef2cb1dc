import { type Client, createClient, type Signal } from "@tokenwire/client";
import {
  retainSession,
  type Session,
  type SessionOptions,
  type SessionSnapshot,
  type SessionTurn,
} from "@tokenwire/client/session";

type SignalListener = (signal: Signal, turn: SessionTurn) => void;

let pageClient: Client | undefined;

/** How one component uses a session: from its first effect to its last. On a server it has none. */
export class Attachment {
  readonly #client: Client | undefined;
  readonly #options: SessionOptions;
  readonly #empty: SessionSnapshot;
  readonly #signalListeners = new Set<SignalListener>();
  readonly #loadHistory: boolean;
  #session: Session | undefined;

  constructor(client: Client | undefined, options: SessionOptions, loadHistory: boolean) {
    this.#client = client;
    this.#options = options;
    this.#loadHistory = loadHistory;
    this.#empty = {
      sessionId: options.sessionId,
      turns: [],
      status: "idle",
      connection: "closed",
      running: false,
      history: loadHistory ? "loading" : "idle",
      historyFailure: undefined,
      unsent: undefined,
    };
  }

  get session(): Session | undefined {
    return this.#session;
  }

  readonly getSnapshot = (): SessionSnapshot => this.#session?.getSnapshot() ?? this.#empty;

  readonly getServerSnapshot = (): SessionSnapshot => this.#empty;

  /** Attach for as long as somebody listens. Detaching stops no run. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const client = this.#client ?? (pageClient ??= createClient());
    const { session, release } = retainSession(client, this.#options);
    this.#session = session;
    const unsubscribe = session.subscribe(listener);
    const unlisten = session.listen((signal, turn) => {
      for (const hear of this.#signalListeners) hear(signal, turn);
    });
    if (this.#loadHistory) void session.load();
    // React has read the empty snapshot.
    listener();
    return () => {
      unsubscribe();
      unlisten();
      release();
    };
  };

  readonly listen = (listener: SignalListener): (() => void) => {
    this.#signalListeners.add(listener);
    return () => this.#signalListeners.delete(listener);
  };

  /** Return once a turn's run has ended, however. */
  ended(turnId: string): Promise<void> {
    const session = this.#session;
    return new Promise((resolve) => {
      const look = () => {
        const turn = session?.getSnapshot().turns.find(({ id }) => id === turnId);
        if (turn !== undefined && turn.run.outcome === undefined) return;
        unsubscribe?.();
        resolve();
      };
      const unsubscribe = session?.subscribe(look);
      look();
    });
  }
}
