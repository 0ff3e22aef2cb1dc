import { browserEnvironment, type Environment, newId } from "./environment.ts";
import { RequestFailed, UNREACHABLE } from "./failure.ts";
import { isMalformed } from "./fields.ts";
import { DEFAULT_ENDPOINTS, type Endpoints, Http, type RequestHeaders } from "./http.ts";
import {
  type PageOptions,
  readRun,
  readRuns,
  readTranscript,
  type RunInfo,
  type RunsPage,
  type TranscriptOptions,
  type TranscriptPage,
} from "./records.ts";
import { DEFAULT_RETRY, type RetryPolicy } from "./retry.ts";
import type { FollowOptions, Run, RunOptions, StartOptions, StartRequest } from "./run.ts";
import { RunHandle } from "./run-handle.ts";
import type { RunContext, RunOrder } from "./run-order.ts";

/** Everything has a default: in a page that the edge itself serves, `createClient()` is enough. */
export interface ClientOptions {
  /**
   * What stands before all paths: origin and prefix. Default `/api`, on the page's own origin.
   *
   * A proxy below `/api/agent` needs `/api/agent`; Node needs the whole, `https://edge.example/api`.
   */
  readonly baseUrl?: string;
  /** Paths below `baseUrl` that differ from the usual ones. */
  readonly endpoints?: Partial<Endpoints>;
  /** Any `fetch`. Default: the global one. */
  readonly fetch?: typeof fetch;
  /** Sent with every request. A function is asked before each one, and again when its answer was refused with 401. */
  readonly headers?: RequestHeaders;
  /** Whether cookies are sent to another origin. Default: what `fetch` does. */
  readonly credentials?: RequestCredentials;
  /** When to try again. Default: 60 s of trouble, time without a network not counted. See also `THREE_TRIES`. */
  readonly retry?: Partial<RetryPolicy>;
  /** Milliseconds without a byte after which a connection counts as dead. Default 30,000: two heartbeats missed. */
  readonly stallMs?: number;
}

/** The way to one server. Holds nothing open but the runs that are read. */
export interface Client {
  /** Start a run and read it. Repeated by itself when it is cut or refused for now; never started twice. */
  startRun(request: StartRequest, options?: StartOptions): Run;
  /** Read a run that is known, from its first event or behind the one that was seen last. */
  followRun(runId: string, options?: FollowOptions): Run;
  /** Stop a run that is not read here. Returns its state. */
  cancelRun(runId: string, options?: { readonly signal?: AbortSignal }): Promise<RunInfo>;
  /** Return what the server knows of a run. */
  getRun(runId: string, options?: { readonly signal?: AbortSignal }): Promise<RunInfo>;
  /** Return a session's runs, newest first. */
  listRuns(sessionId: string, options?: PageOptions): Promise<RunsPage>;
  /** Return a session's turns, oldest first unless told otherwise. */
  transcript(sessionId: string, options?: TranscriptOptions): Promise<TranscriptPage>;
  /** Leave all runs. Nothing of a request, a timer or a listener is left then. */
  close(): void;
}

/**
 * Return a client.
 *
 * All methods that return a promise reject with `RequestFailed`.
 */
export function createClient(options: ClientOptions = {}): Client {
  return new TokenwireClient(options, browserEnvironment());
}

/** What makes one up: for tests, with a browser of their own. */
export class TokenwireClient implements Client {
  readonly #http: Http;
  readonly #context: RunContext;
  readonly #runs = new Set<RunHandle>();

  constructor(options: ClientOptions, environment: Environment) {
    const { stallMs = 30_000, retry = {}, endpoints = {} } = options;
    const baseUrl = (options.baseUrl ?? "/api").replace(/\/+$/, "");
    this.#http = new Http({
      baseUrl,
      endpoints: { ...DEFAULT_ENDPOINTS, ...endpoints },
      fetch: options.fetch ?? globalFetch(baseUrl),
      headers: options.headers ?? {},
      credentials: options.credentials,
      timeoutMs: stallMs,
    });
    this.#context = { http: this.#http, environment, retry: { ...DEFAULT_RETRY, ...retry }, stallMs };
  }

  startRun(request: StartRequest, options: StartOptions = {}): Run {
    const { idempotencyKey = newId(), whenBusy = "follow" } = options;
    return this.#open({ kind: "start", request, idempotencyKey, followBusy: whenBusy === "follow" }, options);
  }

  followRun(runId: string, options: FollowOptions = {}): Run {
    return this.#open({ kind: "follow", runId, after: options.after }, options);
  }

  cancelRun(runId: string, options: { readonly signal?: AbortSignal } = {}): Promise<RunInfo> {
    return this.#ask(this.#http.url("cancel", { runId }), readRun, options.signal, { method: "POST" });
  }

  getRun(runId: string, options: { readonly signal?: AbortSignal } = {}): Promise<RunInfo> {
    return this.#ask(this.#http.url("run", { runId }), readRun, options.signal);
  }

  listRuns(sessionId: string, { signal, ...page }: PageOptions = {}): Promise<RunsPage> {
    return this.#ask(this.#http.url("runs", { sessionId }, page), readRuns, signal);
  }

  transcript(sessionId: string, { signal, ...page }: TranscriptOptions = {}): Promise<TranscriptPage> {
    return this.#ask(this.#http.url("transcript", { sessionId }, page), readTranscript, signal);
  }

  close(): void {
    for (const run of this.#runs) run.leave();
  }

  #open(order: RunOrder, options: RunOptions): Run {
    const run = new RunHandle(this.#context, order, options, () => this.#runs.delete(run));
    this.#runs.add(run);
    run.begin();
    return run;
  }

  async #ask<T>(
    url: string,
    read: (value: unknown) => T,
    signal: AbortSignal | undefined,
    init: RequestInit = {},
  ): Promise<T> {
    try {
      return read(await this.#http.json(url, init, signal));
    } catch (error) {
      if (error instanceof RequestFailed || signal?.aborted === true) throw error;
      const malformed = isMalformed(error);
      const message = "The server's answer is not what it should be.";
      const failure = malformed ? { ...UNREACHABLE, code: "INTERNAL", message } : UNREACHABLE;
      throw new RequestFailed({ ...failure, resumable: false }, { cause: error });
    }
  }
}

/** Return the global `fetch`, called as a function: as a method of anything else, the browser's own refuses. */
function globalFetch(base: string): typeof fetch {
  return async (...given) => {
    if (typeof location === "undefined" && !/^https?:/.test(base)) {
      const message = `baseUrl must be a whole URL outside of a browser: ${base}`;
      throw new RequestFailed({ code: "INVALID_ARGUMENT", message, retryable: false, resumable: false });
    }
    return fetch(...given);
  };
}
