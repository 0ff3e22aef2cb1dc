import { AGAIN, type AttemptEnd, afterRefusal } from "./attempt.ts";
import { call } from "./callback.ts";
import type { WakeReason } from "./environment.ts";
import { EventQueue } from "./event-queue.ts";
import type { EventType, StreamEvent } from "./events.ts";
import { type Failure, LOST, RequestFailed, UNREACHABLE } from "./failure.ts";
import { RetryClock } from "./retry.ts";
import { type Run, type RunEvent, RunFailed, type RunOptions } from "./run.ts";
import type { SseMessage } from "./parse-event.ts";
import type { RunContext, RunOrder } from "./run-order.ts";
import { type End, RunReader } from "./run-reader.ts";
import { SseConnection } from "./sse-connection.ts";
import { answerText, reduce, type RunState, type Signal, startState, traceIdOf } from "./stream-state.ts";

// The server breaks a silence after 15 s: one that lasts longer is suspicious enough for a page that was away.
const SUSPICIOUS_SILENCE_MS = 16_000;

/** See {@link Run}. */
export class RunHandle implements Run {
  readonly #context: RunContext;
  readonly #order: RunOrder;
  readonly #options: RunOptions;
  readonly #reader: RunReader;
  readonly #clock: RetryClock;
  readonly #queue = new EventQueue<RunEvent>();
  readonly #listeners = new Set<(state: RunState) => void>();
  readonly #eventListeners = new Map<EventType, Set<(event: StreamEvent) => void>>();
  readonly #onLeave: () => void;
  #state: RunState;
  #finished: Promise<RunState>;
  #finish: (state: RunState) => void = () => undefined;
  #connection: SseConnection | undefined;
  #stopSleeping: (() => void) | undefined;
  #stopListening: () => void = () => undefined;
  #working = false;
  #left = false;
  /** The present connection was closed on purpose: go on at once. */
  #interrupted = false;
  #stopWanted = false;
  #cancelling: AbortController | undefined;
  /** The last attempt to start was refused with a status: there is no run. */
  #refused = false;
  #iterated = false;

  constructor(context: RunContext, order: RunOrder, options: RunOptions, onLeave: () => void) {
    this.#context = context;
    this.#order = order;
    this.#options = options;
    this.#onLeave = onLeave;
    const known = order.kind === "follow" ? ([order.runId, order.after] as const) : ([] as const);
    this.#reader = new RunReader(this.#emit, ...known);
    this.#clock = new RetryClock(context.retry, context.environment.random);
    this.#state = { ...startState(context.environment.now()), runId: this.#reader.runId };
    this.#finished = this.#renewFinished();
  }

  get finished(): Promise<RunState> {
    return this.#finished;
  }

  get runId(): string | undefined {
    return this.#reader.runId;
  }

  get cursor(): string | undefined {
    return this.#reader.cursor;
  }

  get state(): RunState {
    return this.#state;
  }

  get status(): RunState["status"] {
    return this.#state.status;
  }

  get connection(): RunState["connection"] {
    return this.#state.connection;
  }

  get text(): string {
    return answerText(this.#state);
  }

  /** Begin. Called once, when whoever made this has its hands on it. */
  begin(): void {
    const { signal } = this.#options;
    if (signal?.aborted === true && this.#order.kind === "start") {
      this.#end({ kind: "never_started" });
      return;
    }
    this.#work();
    if (signal?.aborted === true) this.stop();
  }

  readonly on: Run["on"] = (type, listener) => {
    const listeners = this.#eventListeners.get(type) ?? new Set();
    this.#eventListeners.set(type, listeners);
    listeners.add(listener as (event: StreamEvent) => void);
    return () => listeners.delete(listener as (event: StreamEvent) => void);
  };

  readonly subscribe = (listener: (state: RunState) => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly stop = (): void => {
    if (!this.#working || this.#stopWanted || this.#reader.finished) return;
    this.#stopWanted = true;
    this.#emit({ kind: "stop_requested" });
    if (this.#reader.runId !== undefined) this.#interrupt();
    else if (this.#refused && this.#stopSleeping !== undefined) this.#end({ kind: "never_started" });
  };

  readonly resume = (): void => {
    const { outcome } = this.#state;
    if (this.#working || this.#left || outcome?.kind !== "failed" || !outcome.failure.resumable) return;
    this.#clock.reset();
    this.#finished = this.#renewFinished();
    this.#emit({ kind: "reconnecting", attempt: 1 });
    this.#work();
  };

  readonly leave = (): void => {
    if (this.#left) return;
    if (this.#working) this.#emit({ kind: "left" });
    this.#left = true;
    this.#queue.drop();
    this.#cancelling?.abort();
    this.#rest();
    this.#connection?.close();
    this.#onLeave();
  };

  [Symbol.asyncIterator](): AsyncIterator<RunEvent, undefined> {
    if (this.#iterated) throw new TypeError("A run can be iterated once.");
    this.#iterated = true;
    return {
      next: () => this.#queue.next(),
      return: () => {
        this.leave();
        return this.#queue.next();
      },
    };
  }

  /** Read until the run has ended, is given up, or was left. */
  #work(): void {
    this.#working = true;
    this.#stopListening = this.#listen();
    void this.#keepReading();
  }

  #renewFinished(): Promise<RunState> {
    return new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  /** Hold nothing any more but, for a moment, the connection whose end the server is to make. */
  #rest(): void {
    this.#working = false;
    this.#stopListening();
    this.#stopSleeping?.();
    this.#finish(this.#state);
  }

  #end(signal?: Signal): void {
    if (signal !== undefined) this.#emit(signal);
    const { outcome } = this.#state;
    const error = signal?.kind === "failed" && outcome?.kind === "failed" ? outcome.failure : undefined;
    // One that can be taken up again may still be iterated by then; an error can only be thrown once, though.
    this.#queue.end(error === undefined ? undefined : new RunFailed(error));
    this.#rest();
    if (error?.resumable !== true) this.#onLeave();
  }

  #listen(): () => void {
    const { signal } = this.#options;
    const stopWaking = this.#context.environment.onWake(this.#wake);
    signal?.addEventListener("abort", this.stop);
    return () => {
      stopWaking();
      signal?.removeEventListener("abort", this.stop);
    };
  }

  readonly #wake = (reason: WakeReason): void => {
    this.#clock.reset();
    if (this.#stopSleeping !== undefined) this.#stopSleeping();
    // Another network: the old connection leads nowhere, though nothing has told it yet.
    else if (reason === "online" || (this.#connection?.silentMs ?? 0) > SUSPICIOUS_SILENCE_MS) {
      this.#interrupt();
    }
  };

  /** Close the connection and go on at once. */
  #interrupt(): void {
    this.#interrupted = true;
    this.#connection?.close();
    this.#stopSleeping?.();
  }

  async #keepReading(): Promise<void> {
    while (this.#isWorking()) {
      if (this.#mustCancel()) await this.#cancel();
      if (!this.#isWorking()) return;
      const end = await this.#readOnce();
      if (!this.#isWorking()) return;
      if (end.kind === "finished") this.#end();
      else if (end.kind === "failed") this.#end({ kind: "failed", failure: end.failure });
      else if (end.kind !== "again") await this.#pause(end.kind === "broken" ? end : { kind: "broken" });
    }
  }

  async #readOnce(): Promise<AttemptEnd> {
    const { http, stallMs, environment } = this.#context;
    this.#interrupted = false;
    const connection = new SseConnection(http, stallMs, environment.now);
    this.#connection = connection;
    try {
      const response = await this.#open(connection);
      this.#opened(response);
      const end = this.#mustCancel() ? AGAIN : await connection.read(response, this.#take);
      if (end?.kind === "finished") connection.linger();
      else connection.close();
      return end ?? this.#broken(connection);
    } catch (error) {
      connection.close();
      return error instanceof RequestFailed ? this.#refuse(error.failure) : this.#broken(connection);
    }
  }

  #broken({ retryMs }: SseConnection): AttemptEnd {
    return this.#interrupted ? AGAIN : { kind: "broken", retryMs };
  }

  /** Take the messages of one chunk; return how the attempt ended, if it did. */
  readonly #take = (messages: readonly SseMessage[]): AttemptEnd | undefined => {
    const atMs = this.#context.environment.now();
    if (messages.length > 0) call(this.#options.onMessages, messages);
    for (const message of messages) {
      if (!this.#isWorking()) return AGAIN;
      const end = this.#reader.take(message, atMs);
      if (this.#reader.takeHeard()) this.#clock.reset();
      if (end !== undefined) return end;
    }
    return this.#mustCancel() ? AGAIN : undefined;
  };

  #opened({ headers }: Response): void {
    const runId = headers.get("run-id") ?? undefined;
    const timingToken = headers.get("timing-token") ?? undefined;
    this.#refused = false;
    this.#reader.learn(runId);
    this.#emit({ kind: "opened", runId, traceId: traceIdOf(headers.get("traceparent")), timingToken });
  }

  #open(connection: SseConnection): Promise<Response> {
    const { http } = this.#context;
    const { runId, cursor } = this.#reader;
    const query = { timing: this.#options.timing === true ? 1 : undefined };
    if (runId !== undefined) {
      const own = { ...(cursor !== undefined && { "Last-Event-ID": cursor }) };
      return connection.open(http.url("events", { runId }, query), {}, own);
    }
    // A run that is followed has an id.
    const { request, idempotencyKey } = this.#order as Extract<RunOrder, { kind: "start" }>;
    return connection.open(
      http.url("start", {}, query),
      { method: "POST", body: JSON.stringify(request) },
      { "Content-Type": "application/json", "Idempotency-Key": idempotencyKey },
    );
  }

  /** Return how a connection ended that the server refused: for now only, or for good. */
  #refuse(failure: Failure): AttemptEnd {
    const status = failure.status ?? 0;
    if (this.#reader.runId === undefined) return this.#refuseStart(failure, status);
    return afterRefusal(failure, status);
  }

  #refuseStart(failure: Failure, status: number): AttemptEnd {
    const busyWith = failure.details?.reason === "SESSION_BUSY" ? failure.details.run_id : undefined;
    if (busyWith !== undefined && this.#order.kind === "start" && this.#order.followBusy) {
      this.#reader.switchTo(busyWith);
      this.#emit({ kind: "joined", runId: busyWith });
      return AGAIN;
    }
    this.#refused = true;
    if (this.#stopWanted) {
      this.#end({ kind: "never_started" });
      return AGAIN;
    }
    const retryable = failure.retryable && (status === 429 || status >= 500);
    return retryable ? { kind: "broken", failure } : { kind: "failed", failure };
  }

  /** Wait before the next attempt, or give up. */
  async #pause(end: Extract<End, { kind: "broken" }>): Promise<void> {
    const { environment } = this.#context;
    const offline = !environment.isOnline();
    const delayMs = this.#clock.next({
      nowMs: environment.now(),
      offline,
      retryMs: end.retryMs,
      retryAfterMs: end.failure?.retryAfterMs,
    });
    if (delayMs === undefined) {
      this.#end({ kind: "failed", failure: this.#lost(end.failure) });
      return;
    }
    const { attempt } = this.#clock;
    this.#emit({ kind: "reconnecting", attempt, offline, failure: end.failure });
    await this.#sleep(delayMs);
  }

  #lost(failure: Failure | undefined): Failure {
    if (failure !== undefined) return { ...failure, retryable: true, resumable: true };
    return this.#reader.runId === undefined ? UNREACHABLE : LOST;
  }

  async #sleep(ms: number): Promise<void> {
    if (!this.#isWorking()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#stopSleeping = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#stopSleeping = undefined;
  }

  #mustCancel(): boolean {
    return this.#stopWanted && this.#reader.runId !== undefined && this.#cancelling === undefined;
  }

  /**
   * Have the server cancel the run. Cancelling twice is harmless.
   *
   * No connection of this run is open meanwhile: browsers allow six to a server over HTTP/1.1, and this
   * request would wait behind them.
   */
  async #cancel(): Promise<void> {
    const { http, environment, retry } = this.#context;
    const cancelling = (this.#cancelling = new AbortController());
    const clock = new RetryClock(retry, environment.random);
    const url = http.url("cancel", { runId: this.#reader.runId ?? "" });
    while (this.#isWorking()) {
      const failure = await http
        .json(url, { method: "POST" }, cancelling.signal)
        .then(() => undefined, failureOf);
      if (failure === undefined || !this.#isWorking()) return;
      const delayMs = failure.retryable
        ? clock.next({
            nowMs: environment.now(),
            offline: !environment.isOnline(),
            retryAfterMs: failure.retryAfterMs,
          })
        : undefined;
      if (delayMs === undefined) {
        this.#stopWanted = false;
        this.#cancelling = undefined;
        this.#emit({ kind: "stop_failed" });
        return;
      }
      await this.#sleep(delayMs);
    }
  }

  /** A method, because the type checker believes that a field keeps its value across an `await`. */
  #isWorking(): boolean {
    return this.#working;
  }

  #offer(event: RunEvent): void {
    if (this.#options.keepEvents !== false) this.#queue.put(event);
  }

  readonly #emit = (signal: Signal): void => {
    if (this.#left) return;
    this.#state = reduce(this.#state, signal);
    call(this.#options.onSignal, signal, this.#state);
    if (signal.kind === "event") {
      this.#offer(signal.event);
      call(this.#options.onEvent, signal.event);
      for (const listener of this.#eventListeners.get(signal.event.type) ?? []) call(listener, signal.event);
    } else if (signal.kind === "gap") {
      this.#offer({ type: "resynced", restart: signal.restart, complete: signal.complete });
    }
    for (const listener of this.#listeners) call(listener, this.#state);
  };
}

function failureOf(error: unknown): Failure {
  return error instanceof RequestFailed ? error.failure : UNREACHABLE;
}
