import type { Client } from "@tokenwire/client";
import { retainSession, type SessionOptions } from "@tokenwire/client/session";
import { onScopeDispose, shallowRef } from "vue";

/** Return a conversation that lives as long as the component, which shows `snapshot`. */
export function useSession(client: Client, options: SessionOptions) {
  const { session, release } = retainSession(client, options);
  const snapshot = shallowRef(session.getSnapshot());
  const unsubscribe = session.subscribe(() => {
    snapshot.value = session.getSnapshot();
  });
  void session.load();
  onScopeDispose(() => {
    unsubscribe();
    release();
  });
  return { session, snapshot };
}
