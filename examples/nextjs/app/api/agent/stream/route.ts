import { proxyToEdge } from "@/lib/edge-proxy";

/** Start a run and stream it. */
export function POST(request: Request): Promise<Response> {
  return proxyToEdge(request, "chat");
}
