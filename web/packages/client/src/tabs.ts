/** What the tabs of a browser share. */
export interface Tabs {
  readonly locks: Pick<LockManager, "request">;
  readonly openChannel: (name: string) => BroadcastChannel;
}

/** Return what tabs share here; undefined where pages can't know of each other. */
export function browserTabs(): Tabs | undefined {
  // Node has both, too, but no tabs: an open channel would only keep the process alive.
  if (typeof document === "undefined" || typeof BroadcastChannel === "undefined") return undefined;
  // Locks exist in secure contexts only.
  const { locks } = navigator as { readonly locks?: LockManager };
  return locks === undefined ? undefined : { locks, openChannel: (name) => new BroadcastChannel(name) };
}
