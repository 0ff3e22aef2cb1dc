/** Why it is worth while to look at the connection now. */
export type WakeReason = "online" | "shown";

/** What the client takes from the browser around it; each part may be missing. */
export interface Environment {
  /** A clock that only goes forward, in milliseconds. */
  readonly now: () => number;
  /** A number from 0 up to 1. */
  readonly random: () => number;
  /** False when the browser is sure that it has no network. */
  readonly isOnline: () => boolean;
  /** Listen for the network's or the user's return; returns what stops listening. */
  readonly onWake: (listener: (reason: WakeReason) => void) => () => void;
}

/** Return what this browser, worker or Node offers. */
export function browserEnvironment(): Environment {
  return {
    now: () => performance.now(),
    random: Math.random,
    isOnline: () => (globalThis.navigator as Navigator | undefined)?.onLine !== false,
    onWake: listenForWake,
  };
}

function listenForWake(listener: (reason: WakeReason) => void): () => void {
  if (typeof document === "undefined") return () => undefined;
  const listening = new AbortController();
  const { signal } = listening;
  const shown = () => {
    if (document.visibilityState === "visible") listener("shown");
  };
  const online = () => {
    listener("online");
  };
  globalThis.addEventListener("online", online, { signal });
  globalThis.addEventListener("pageshow", shown, { signal });
  document.addEventListener("visibilitychange", shown, { signal });
  return () => {
    listening.abort();
  };
}

/**
 * Return a random id of 128 bits, as for a session.
 *
 * `crypto.randomUUID` exists in secure contexts only; a page on plain HTTP in
 * a local network has `getRandomValues` still.
 */
export function newId(
  source: Pick<Crypto, "getRandomValues"> & Partial<Pick<Crypto, "randomUUID">> = crypto,
): string {
  return (
    source.randomUUID?.() ??
    Array.from(source.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join(
      "",
    )
  );
}
