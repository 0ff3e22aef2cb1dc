import { currentUser } from "./session";
import { authorizationOf } from "./users";

/** What of a browser's request the edge gets. Not its Authorization, not its cookies, not who it says it is. */
const REQUEST_HEADERS = [
  "accept",
  "content-type",
  "idempotency-key",
  "last-event-id",
  "traceparent",
  "tracestate",
];

/** What of the edge's response is about one connection, or about a body that `fetch` has decoded. */
const CONNECTION_HEADERS = [
  "connection",
  "content-encoding",
  "content-length",
  "keep-alive",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

/** As much as the edge takes (TOKENWIRE_MAX_BODY_BYTES). */
const MAX_BODY_BYTES = 256 * 1024;

/** Below it lie the routes of this app that are the edge's. */
const BASE = "/api/agent/";

/**
 * Return the edge's response to a request of a signed-in user, as it comes.
 *
 * @param path - The edge's path below `/api/`; that of the request below `/api/agent/` otherwise.
 */
export async function proxyToEdge(request: Request, path?: string): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const target = safePath(path ?? pathname.slice(BASE.length));
  if (target === undefined) return problem(404, "NOT_FOUND", "There is no such path.");
  if (isForeign(request))
    return problem(403, "PERMISSION_DENIED", "The request comes from another site's page.");
  const user = await currentUser();
  if (user === undefined) return problem(401, "UNAUTHENTICATED", "Sign in first.");

  const body = new BoundedBody(request);
  if (body.tooLarge) return tooLarge();
  try {
    const response = await fetch(`${edgeUrl()}/api/${target}${search}`, {
      method: request.method,
      headers: headersForEdge(request, authorizationOf(user)),
      // Who leaves here leaves there: the edge, then the core, notice it at once.
      signal: request.signal,
      cache: "no-store",
      redirect: "manual",
      ...body.init,
    });
    // To a browser, 401 means: sign in again. That would not help where the edge refuses this server's key.
    if (response.status === 401) {
      await response.body?.cancel();
      return problem(502, "INTERNAL", "The agents' server does not accept this app's key for you.");
    }
    return new Response(response.body, { status: response.status, headers: headersForBrowser(response) });
  } catch (error) {
    if (body.tooLarge) return tooLarge();
    if (request.signal.aborted) return new Response(null, { status: 499 });
    console.error("The edge can't be reached:", error);
    return problem(502, "UNAVAILABLE", "The agents' server can't be reached.", { "Retry-After": "1" });
  }
}

function edgeUrl(): string {
  return (process.env.TOKENWIRE_URL ?? "http://127.0.0.1:8000").replace(/\/+$/, "");
}

/** Return a path that stays below `/api/` whatever reads it next; undefined for one that might not. */
function safePath(path: string): string | undefined {
  try {
    const segments = path.split("/").map(decodeURIComponent);
    const isSafe = (segment: string) => !/^\.{0,2}$|[/\\\p{Cc}]/u.test(segment);
    return segments.every(isSafe) ? segments.map(encodeURIComponent).join("/") : undefined;
  } catch {
    return undefined; // not percent-encoded UTF-8
  }
}

/** Return whether the page of another site sends this, with our user's cookie. */
function isForeign({ headers }: Request): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site !== "same-origin" && site !== "none";
  // Browsers send it to https and localhost only.
  const origin = headers.get("origin");
  return origin !== null && (!URL.canParse(origin) || new URL(origin).host !== headers.get("host"));
}

function headersForEdge(request: Request, authorization: string | undefined): Headers {
  const headers = new Headers({ "Accept-Encoding": "identity" });
  for (const name of REQUEST_HEADERS) {
    const value = request.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  if (authorization !== undefined) headers.set("Authorization", authorization);
  return headers;
}

function headersForBrowser(response: Response): Headers {
  const headers = new Headers(response.headers);
  const named = headers.get("connection")?.split(",") ?? [];
  for (const name of [...CONNECTION_HEADERS, "set-cookie", ...named.map((name) => name.trim())]) {
    if (name !== "") headers.delete(name);
  }
  const location = headers.get("location");
  if (location?.startsWith("/api/")) headers.set("location", BASE + location.slice("/api/".length));
  return headers;
}

/** A request's body on its way through: counted, not collected. */
class BoundedBody {
  tooLarge: boolean;
  /** What `fetch` takes of it. */
  readonly init: RequestInit & { duplex?: "half" } = {};

  constructor({ body, headers }: Request) {
    this.tooLarge = Number(headers.get("content-length") ?? 0) > MAX_BODY_BYTES;
    if (body !== null) this.init = { body: body.pipeThrough(this.#counter()), duplex: "half" };
  }

  #counter(): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
    let size = 0;
    return new TransformStream({
      transform: (piece, controller) => {
        size += piece.byteLength;
        this.tooLarge ||= size > MAX_BODY_BYTES;
        if (this.tooLarge) controller.error(new Error("The body is too large."));
        else controller.enqueue(piece);
      },
    });
  }
}

function tooLarge(): Response {
  return problem(413, "RESOURCE_EXHAUSTED", `The body exceeds the limit of ${MAX_BODY_BYTES} bytes.`);
}

/** Return a refusal in the edge's own form: RFC 9457, with a canonical gRPC code. */
function problem(status: number, code: string, title: string, headers: HeadersInit = {}): Response {
  return Response.json(
    {
      type: "about:blank",
      title,
      status,
      detail: title,
      code,
      retryable: code === "UNAVAILABLE",
      details: {},
    },
    {
      status,
      headers: { ...headers, "Content-Type": "application/problem+json", "Cache-Control": "no-store" },
    },
  );
}
