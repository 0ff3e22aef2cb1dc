"use client";

import { createClient } from "@tokenwire/client";
import { StreamingChat, useAgentStream } from "@tokenwire/react";
import { signOut } from "./sign-in/actions";

/** Everything goes through this app's own server, which adds the user's key. */
const client = createClient({
  baseUrl: "/api/agent",
  endpoints: { start: "/stream" },
  headers: ({ refused }) => {
    if (refused) location.assign(`/sign-in${location.search}`); // the session is over
    return {};
  },
});

interface ChatProps {
  readonly user: string;
  readonly sessionId: string;
  readonly agent: string | undefined;
}

export function Chat({ user, sessionId, agent }: ChatProps) {
  // Tabs share a stream, users of one browser don't.
  const conversation = { client, sessionId, agent, share: user };
  // The hook and the chat below share one store: use either, or both.
  const { status, connectionStatus } = useAgentStream(conversation);
  return (
    <div className="page">
      <header className="bar">
        <h1>Agents</h1>
        <a href={agent === undefined ? "/" : `/?agent=${encodeURIComponent(agent)}`}>New chat</a>
        <span data-testid="status">
          {status} · {connectionStatus}
        </span>
        <form action={signOut}>
          <span data-testid="user">{user}</span> <button>Sign out</button>
        </form>
      </header>
      <main style={{ minHeight: 0 }}>
        <StreamingChat {...conversation} autoFocus />
      </main>
    </div>
  );
}
