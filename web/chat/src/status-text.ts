import type { StreamState } from "@tokenwire/client";

export type StatusKind = "ready" | "busy" | "live" | "trouble";

export interface Status {
  readonly kind: StatusKind;
  readonly text: string;
}

/** Return the page's state of connection in a word or two. */
export function statusOf(state: StreamState | undefined): Status {
  if (state === undefined || state.outcome !== undefined) return { kind: "ready", text: "Ready" };
  if (state.connection === "reconnecting") {
    return {
      kind: "trouble",
      text: state.attempt > 1 ? `Reconnecting, try ${state.attempt}` : "Reconnecting",
    };
  }
  if (state.stopping) return { kind: "busy", text: "Stopping" };
  if (state.stopFailed) return { kind: "trouble", text: "Stop failed" };
  if (state.degraded) return { kind: "trouble", text: "Waiting for the log" };
  if (state.connection === "connecting") return { kind: "busy", text: "Connecting" };
  return { kind: "live", text: "Streaming" };
}
