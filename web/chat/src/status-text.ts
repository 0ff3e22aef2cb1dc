import type { SessionSnapshot } from "@tokenwire/client/session";

export type StatusKind = "ready" | "busy" | "live" | "trouble";

export interface Status {
  readonly kind: StatusKind;
  readonly text: string;
}

/** Return the page's state in a word or two. A connection that was given up is not "Ready". */
export function statusOf({ turns, status, connection }: SessionSnapshot): Status {
  const run = turns.at(-1)?.run;
  if (connection === "disconnected") return { kind: "trouble", text: "Disconnected" };
  if (connection === "reconnecting") {
    const attempt = run?.attempt ?? 0;
    return { kind: "trouble", text: attempt > 1 ? `Reconnecting, try ${attempt}` : "Reconnecting" };
  }
  if (run === undefined || run.outcome !== undefined) return { kind: "ready", text: "Ready" };
  if (status === "stopping") return { kind: "busy", text: "Stopping" };
  if (run.stopFailed) return { kind: "trouble", text: "Stop failed" };
  if (run.degraded) return { kind: "trouble", text: "Waiting for the log" };
  if (connection === "connecting") return { kind: "busy", text: "Connecting" };
  return { kind: "live", text: "Streaming" };
}
