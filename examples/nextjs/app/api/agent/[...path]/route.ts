import { proxyToEdge } from "@/lib/edge-proxy";

/** GET /api/agent/runs/{runId}/events, POST /api/agent/runs/{runId}/cancel, …: all of the edge's API. */
export function GET(request: Request): Promise<Response> {
  return proxyToEdge(request);
}

export function POST(request: Request): Promise<Response> {
  return proxyToEdge(request);
}
