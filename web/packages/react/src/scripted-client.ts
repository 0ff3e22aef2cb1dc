/** A client at the far rim, for the tests: its runs say what the test has them say. */
import {
  answerText,
  type Client,
  reduce,
  type Run,
  type RunOptions,
  type RunState,
  type Signal,
  type StartRequest,
  startState,
  type StreamEvent,
  type TranscriptPage,
} from "@tokenwire/client";

export class ScriptedRun implements Run {
  readonly request: StartRequest | undefined;
  readonly runId: string | undefined;
  readonly cursor = undefined;
  readonly calls: string[] = [];
  readonly finished = new Promise<RunState>(() => undefined);
  readonly #onSignal: RunOptions["onSignal"];
  state = startState(0);

  constructor(request: StartRequest | undefined, runId: string | undefined, options: RunOptions) {
    this.request = request;
    this.runId = runId;
    this.#onSignal = options.onSignal;
  }

  get status() {
    return this.state.status;
  }

  get connection() {
    return this.state.connection;
  }

  get text() {
    return answerText(this.state);
  }

  /** Play a signal. */
  say(signal: Signal): void {
    this.state = reduce(this.state, signal);
    this.#onSignal?.(signal, this.state);
  }

  /** Play an event; what it leaves out has no part in these tests. */
  tell(fields: Record<string, unknown> & { type: StreamEvent["type"] }, atMs = 100): void {
    this.say({ kind: "event", event: { timestamp: 1, ...fields } as unknown as StreamEvent, atMs });
  }

  write(content: string, atMs = 100): void {
    this.tell({ type: "text_delta", content, tokens: 1 }, atMs);
  }

  done(finalMessage = "", finishReason = "stop"): void {
    this.tell({ type: "done", finalMessage, finishReason });
  }

  readonly on = () => () => undefined;
  readonly subscribe = () => () => undefined;

  stop(): void {
    this.calls.push("stop");
    this.say({ kind: "stop_requested" });
  }

  resume(): void {
    this.calls.push("resume");
    this.say({ kind: "reconnecting", attempt: 1 });
  }

  leave(): void {
    this.calls.push("leave");
  }

  [Symbol.asyncIterator](): never {
    throw new Error("No test iterates.");
  }
}

export class ScriptedClient implements Client {
  readonly runs: ScriptedRun[] = [];
  /** What the server answers when it is asked for the turns of before. */
  page: () => Promise<TranscriptPage> = () => Promise.resolve({ turns: [], nextPageToken: "" });

  get run(): ScriptedRun {
    const run = this.runs.at(-1);
    if (run === undefined) throw new Error("No run was started.");
    return run;
  }

  startRun(request: StartRequest, options: RunOptions = {}): Run {
    const run = new ScriptedRun(request, undefined, options);
    this.runs.push(run);
    return run;
  }

  followRun(runId: string, options: RunOptions = {}): Run {
    const run = new ScriptedRun(undefined, runId, options);
    this.runs.push(run);
    return run;
  }

  readonly transcript = () => this.page();
  readonly cancelRun = () => Promise.reject(new Error("Not scripted."));
  readonly getRun = this.cancelRun;
  readonly listRuns = this.cancelRun;
  readonly close = () => undefined;
}
