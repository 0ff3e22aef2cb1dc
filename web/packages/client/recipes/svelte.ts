import type { Client } from "@tokenwire/client";
import { retainSession, type SessionOptions } from "@tokenwire/client/session";
import { readable } from "svelte/store";

/** Return a conversation. A component shows `$snapshot`, and calls `release` in its `onDestroy`. */
export function openSession(client: Client, options: SessionOptions) {
  const { session, release } = retainSession(client, options);
  const snapshot = readable(session.getSnapshot(), (set) => {
    const show = () => {
      set(session.getSnapshot());
    };
    show(); // changes since the last subscriber left
    return session.subscribe(show);
  });
  void session.load();
  return { session, snapshot, release };
}
