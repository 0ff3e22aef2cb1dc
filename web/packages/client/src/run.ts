import type { EventType, StreamEvent } from "./events.ts";
import type { Failure } from "./failure.ts";
import type { SseMessage } from "./parse-event.ts";
import type { ConnectionStatus, RunState, RunStatus, Signal } from "./stream-state.ts";

/** What the user says, and to whom. */
export interface StartRequest {
  /** Not empty. */
  readonly message: string;
  /** The conversation: 1 to 128 characters. Of one session, one run goes on at a time. */
  readonly sessionId: string;
  /** Who is to answer; absent for the server's default. */
  readonly agent?: string;
  /** A label for the user, never an identity. */
  readonly userId?: string;
  /** What becomes of the run when its last follower has left by itself. Default `grace`: 30 s. */
  readonly onDisconnect?: "cancel" | "grace" | "continue";
}

/** The name that the page's store has used for a {@link StartRequest}. */
export type ChatRequest = StartRequest;

/** What comes out of an iteration besides the run's own events. */
export interface Resynced {
  /** Tells it from the run's events. */
  readonly type: "resynced";
  /** The run's text begins anew: forget what was shown of it. */
  readonly restart: boolean;
  /** Nothing is missing. Otherwise events before the next one are gone. */
  readonly complete: boolean;
}

/** An event of the run, or that the log went on elsewhere than it broke off, which is rare. */
export type RunEvent = StreamEvent | Resynced;

/** Options of a run that is started or followed. */
export interface RunOptions {
  /** Abort is Stop: the run is cancelled at the server, and read to its end. To leave only: {@link Run.leave}. */
  readonly signal?: AbortSignal | undefined;
  /** Keep the events for an iteration. Default true; false saves the memory where only callbacks are used. */
  readonly keepEvents?: boolean | undefined;
  /** Have each event say when it was where: `event.timing`. One frame an event then, nothing merged. */
  readonly timing?: boolean | undefined;
  /** Called with the messages of each chunk as they came, before they are read: to pass them on. */
  readonly onMessages?: ((messages: readonly SseMessage[]) => void) | undefined;
  /** Called with each signal and the state after it, from the very first on. */
  readonly onSignal?: ((signal: Signal, state: RunState) => void) | undefined;
  /** Called with each event of the run. */
  readonly onEvent?: ((event: StreamEvent) => void) | undefined;
}

/** Options of starting. */
export interface StartOptions extends RunOptions {
  /**
   * Makes repeating safe: the same key never starts a second run. Default: a random one.
   *
   * 1 to 128 characters.
   */
  readonly idempotencyKey?: string | undefined;
  /** What to do when another run of the session goes on: follow it (default), or fail with `ABORTED`. */
  readonly whenBusy?: "follow" | "fail" | undefined;
}

/** Options of following. */
export interface FollowOptions extends RunOptions {
  /** The id of the last event that was seen: `runId.epoch.sequence`. Absent: from the first event. */
  readonly after?: string | undefined;
}

/**
 * One run that is read until its terminal event, whatever happens to the connection.
 *
 * An async iteration yields every event from the first on, once. It throws a `RunFailed` when the run could
 * not be started or its end could not be had; a run that ends in an `error` event has yielded that. Leaving the
 * loop early leaves the run, and never stops it. A run can be iterated once.
 */
export interface Run extends AsyncIterable<RunEvent> {
  /** Undefined until the server has named it. */
  readonly runId: string | undefined;
  /** The id of the last event that was seen. */
  readonly cursor: string | undefined;
  /** Everything that a page shows of it; a new object with each change. */
  readonly state: RunState;
  /** What the run does. */
  readonly status: RunStatus;
  /** What the connection does. */
  readonly connection: ConnectionStatus;
  /** The answer so far. */
  readonly text: string;
  /** Fulfilled when nothing more will come: ended, given up, or left. Never rejected; another one after `resume`. */
  readonly finished: Promise<RunState>;
  /** Listen to one type of event; returns what stops listening. */
  on<T extends EventType>(type: T, listener: (event: Extract<StreamEvent, { type: T }>) => void): () => void;
  /** Listen to changes of the state; returns what stops listening. */
  subscribe(listener: (state: RunState) => void): () => void;
  /** Cancel the run at the server and read on to its end. The text so far stays. */
  stop(): void;
  /** Take it up again after it was given up, where {@link Failure.resumable} says so. */
  resume(): void;
  /** Stop reading, and nothing else: what becomes of the run is up to its `onDisconnect`. */
  leave(): void;
}

/** A run could not be started, or its end could not be had. */
export class RunFailed extends Error {
  /** Tells it from other errors across realms, where `instanceof` does not. */
  override readonly name = "RunFailed";
  /** Why. */
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}
