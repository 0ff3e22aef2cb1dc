/**
 * A session's turns as a store that any framework can show.
 *
 * @packageDocumentation
 */
import type { Client } from "./client.ts";
import type { Failure } from "./failure.ts";
import type { PacingOptions, PacingStrategy } from "./pacing.ts";
import type { StartRequest } from "./run.ts";
import { SessionStore } from "./session-store.ts";
import { browserTabs } from "./tabs.ts";
import type { ConnectionStatus, RunState, RunStatus, Signal } from "./stream-state.ts";

/** A message and what came of it. A new object when anything in it has changed, else the same. */
export interface SessionTurn {
  /** Stays the same while the session lives: fit for a key. */
  readonly id: string;
  /** Undefined until the server has named the run. */
  readonly runId: string | undefined;
  /** What the user said; empty when that is not known. */
  readonly message: string;
  /** Unix milliseconds; undefined when that is not known. */
  readonly createdAtMs: number | undefined;
  /** The answer, its status and its connection. */
  readonly run: RunState;
}

/** All that a page shows of a session. The same object until the store tells of a change. */
export interface SessionSnapshot {
  /** The conversation. */
  readonly sessionId: string;
  /** Oldest first. */
  readonly turns: readonly SessionTurn[];
  /** What the newest run does; `idle` when there is none. */
  readonly status: RunStatus;
  /** The newest run's connection; `closed` when there is none. */
  readonly connection: ConnectionStatus;
  /** A run goes on; there is never more than one. */
  readonly running: boolean;
  /** The turns of before: not asked for, on their way, here, or not to be had (see `historyFailure`). */
  readonly history: "idle" | "loading" | "loaded" | "failed";
  /** Why the turns of before are not to be had; `load` tries again. */
  readonly historyFailure: Failure | undefined;
  /**
   * A message that was not sent, since another run of the session went on (another tab's), which is shown
   * instead. Put it back into the input; cleared with the next `send`.
   */
  readonly unsent: string | undefined;
}

/** Which conversation, and how it is read and shown. */
export interface SessionOptions extends Omit<StartRequest, "message"> {
  /**
   * What becomes of a run when its last follower has left by itself. Default `continue`: it is in the transcript
   * afterwards. `grace` ends it after 30 s, which is less than the 60 s for which a lost connection is tried.
   */
  readonly onDisconnect?: NonNullable<StartRequest["onDisconnect"]>;
  /** When the store tells of text that arrived. Default `buffered`. */
  readonly pacing?: PacingStrategy | PacingOptions;
  /** The most turns of before that are loaded: the newest. Default 200. */
  readonly maxTurns?: number;
  /**
   * Have each event say when it was where: `event.timing`, for those that `listen`. Default false. A function is
   * asked before each run.
   */
  readonly timing?: boolean | (() => boolean);
  /**
   * How many of the turns of before are read from their runs' logs once more, the newest of them: only these have
   * tool calls, progress and reasoning, which no transcript holds. Default 5.
   */
  readonly replayTurns?: number;
  /**
   * Whether the tabs of a browser share one stream for each run, and hear of each other's messages, where they
   * can. Default true. A string keeps apart what must not be shared, as the users of one browser: give it the
   * user's id.
   */
  readonly share?: boolean | string;
}

/** What one message may say differently from the session. */
export type SendOptions = Partial<Pick<StartRequest, "agent" | "onDisconnect" | "userId">>;

/** A session's turns, live. All functions can be passed on alone: they need no `this`. */
export interface Session {
  /** The conversation. */
  readonly sessionId: string;
  /** Return what is to be shown now. The same object until `subscribe`'s listeners are called. */
  readonly getSnapshot: () => SessionSnapshot;
  /** Listen to changes of the snapshot; returns what stops listening. */
  readonly subscribe: (listener: () => void) => () => void;
  /** Listen to every signal of every run, unpaced: for progress, errors, measuring. */
  readonly listen: (listener: (signal: Signal, turn: SessionTurn) => void) => () => void;
  /** Load the turns of before, and follow the run that goes on. Once: later calls return the same promise, unless it failed. */
  readonly load: () => Promise<void>;
  /** Say something. Returns the turn's id; undefined when there is nothing to say, or a run goes on. */
  readonly send: (message: string, options?: SendOptions) => string | undefined;
  /** Stop the run that goes on. */
  readonly stop: () => void;
  /** Take a failed turn up again (default: the newest), or say the same anew in its place. Returns whether it did. */
  readonly retry: (turnId?: string) => boolean;
  /** Say what was said in a turn (default: the newest) once more, as a new turn. Returns the new turn's id. */
  readonly regenerate: (turnId?: string) => string | undefined;
  /** Leave: nothing is read any more, and no run is stopped. */
  readonly close: () => void;
}

/** Return a session's store. It asks for nothing until `load` or `send`. */
export function createSession(client: Client, options: SessionOptions): Session {
  return new SessionStore(client, options, browserTabs());
}

/** A use of a session that is shared. */
export interface SessionLease {
  /** The store that all who retain this session share. */
  readonly session: Session;
  /** The use is over. The session closes soon after its last one. */
  readonly release: () => void;
}

interface SharedSession {
  readonly session: Session;
  uses: number;
  closing: ReturnType<typeof setTimeout> | undefined;
}

const SHARED = new WeakMap<Client, Map<string, SharedSession>>();

// A component that is unmounted and mounted again at once (StrictMode, a moved route) is one use.
const LINGER_MS = 1_000;

/**
 * Return the session that all users of the same client and session id share, made by the first of them.
 *
 * Later users get what is there: their other options are not looked at.
 */
export function retainSession(client: Client, options: SessionOptions): SessionLease {
  const sessions = SHARED.get(client) ?? new Map<string, SharedSession>();
  SHARED.set(client, sessions);
  const { sessionId } = options;
  const shared = sessions.get(sessionId) ?? {
    session: createSession(client, options),
    uses: 0,
    closing: undefined,
  };
  sessions.set(sessionId, shared);
  clearTimeout(shared.closing);
  shared.uses += 1;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    shared.uses -= 1;
    if (shared.uses > 0) return;
    shared.closing = setTimeout(() => {
      sessions.delete(sessionId);
      shared.session.close();
    }, LINGER_MS);
  };
  return { session: shared.session, release };
}

export {
  createPacer,
  type Pacer,
  type PacingClock,
  type PacingOptions,
  type PacingStrategy,
} from "./pacing.ts";
