import { RequestFailed, readFailure } from "./failure.ts";

/** Headers for every request, or what returns them: it is asked anew before each one. */
export type RequestHeaders = HeadersInit | ((context: HeadersContext) => HeadersInit | Promise<HeadersInit>);

/** Why headers are asked for. */
export interface HeadersContext {
  /** The server has just refused the last ones with 401: get a fresh token. */
  readonly refused: boolean;
}

/**
 * The paths below `baseUrl`. `{runId}` and `{sessionId}` are filled in.
 *
 * One base for all: a proxy that carries `/api/agent/*` needs only another `baseUrl`.
 */
export interface Endpoints {
  /** POST: start a run and stream it. Default `/chat`. */
  readonly start: string;
  /** GET: a run's events. Default `/runs/{runId}/events`. */
  readonly events: string;
  /** GET: a run's state. Default `/runs/{runId}`. */
  readonly run: string;
  /** POST: Stop. Default `/runs/{runId}/cancel`. */
  readonly cancel: string;
  /** GET: a session's runs. Default `/sessions/{sessionId}/runs`. */
  readonly runs: string;
  /** GET: a session's turns. Default `/sessions/{sessionId}/transcript`. */
  readonly transcript: string;
}

export const DEFAULT_ENDPOINTS: Endpoints = {
  start: "/chat",
  events: "/runs/{runId}/events",
  run: "/runs/{runId}",
  cancel: "/runs/{runId}/cancel",
  runs: "/sessions/{sessionId}/runs",
  transcript: "/sessions/{sessionId}/transcript",
};

export interface HttpOptions {
  readonly baseUrl: string;
  readonly endpoints: Endpoints;
  readonly fetch: typeof fetch;
  readonly headers: RequestHeaders;
  readonly credentials: RequestCredentials | undefined;
  /** Milliseconds after which a request that is not a stream counts as failed. */
  readonly timeoutMs: number;
}

type Query = Readonly<Record<string, string | number | undefined>>;

/** Sends requests to one server: addresses, headers, and the second try after a 401. */
export class Http {
  readonly #options: HttpOptions;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  /** Return an endpoint's address. */
  url(endpoint: keyof Endpoints, ids: Readonly<Record<string, string>> = {}, query: Query = {}): string {
    const path = this.#options.endpoints[endpoint].replace(/\{(\w+)\}/g, (_, name: string) =>
      encodeURIComponent(ids[name] ?? ""),
    );
    const words = Object.entries(query).flatMap(([name, value]) =>
      value === undefined || value === "" ? [] : `${name}=${encodeURIComponent(value)}`,
    );
    const begin = path.includes("?") ? "&" : "?";
    return this.#options.baseUrl + path + (words.length > 0 ? begin + words.join("&") : "");
  }

  /**
   * Return the response to a request, whatever its status.
   *
   * Headers that a function returned and that were refused with 401 are asked for once more.
   */
  async send(url: string, init: RequestInit, own: Readonly<Record<string, string>> = {}): Promise<Response> {
    const { fetch, headers, credentials } = this.#options;
    // What is undefined is not there, for `fetch`; the types know better.
    const withAll = { credentials, ...init } as RequestInit;
    const given = await this.#headers(own, false);
    init.signal?.throwIfAborted();
    const response = await fetch(url, { ...withAll, headers: given });
    if (response.status !== 401 || typeof headers !== "function") return response;
    const fresh = await this.#headers(own, true);
    // The same once more would be refused once more.
    if (JSON.stringify([...fresh]) === JSON.stringify([...given])) return response;
    await response.body?.cancel();
    return fetch(url, { ...withAll, headers: fresh });
  }

  /**
   * Return the JSON that a request is answered with.
   *
   * Throws RequestFailed when it is refused, and what fetch throws when there is no answer.
   */
  async json(url: string, init: RequestInit, signal: AbortSignal | undefined): Promise<unknown> {
    const timeout = new AbortController();
    const abort = () => {
      timeout.abort(signal?.reason);
    };
    if (signal?.aborted === true) abort();
    signal?.addEventListener("abort", abort);
    const timer = setTimeout(abort, this.#options.timeoutMs);
    try {
      const response = await this.send(
        url,
        { ...init, signal: timeout.signal },
        { Accept: "application/json" },
      );
      if (!response.ok) throw new RequestFailed(await readFailure(response));
      return await response.json();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Return the user's headers with the protocol's own, which win. */
  async #headers(own: Readonly<Record<string, string>>, refused: boolean): Promise<Headers> {
    const { headers: given } = this.#options;
    const headers = new Headers(typeof given === "function" ? await given({ refused }) : given);
    for (const [name, value] of Object.entries(own)) headers.set(name, value);
    return headers;
  }
}
