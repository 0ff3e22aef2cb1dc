import type { Client, Failure, RunState } from "@tokenwire/client";
import { type AgentError, StreamingChat, useAgentStream } from "@tokenwire/react";
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react";
import { type ApiKey, wantsKey } from "./api-key.ts";
import { examplesFor } from "./examples.ts";
import { Mark } from "./icons.tsx";
import { KeyForm } from "./key-form.tsx";
import { addressOf } from "./page-address.ts";
import { RunFooter } from "./run-footer.tsx";
import { type Status, statusOf } from "./status-text.ts";

interface AppProps {
  readonly client: Client;
  readonly apiKey: ApiKey;
  readonly sessionId: string;
  /** The address named the session: there may be messages of before. */
  readonly isKnown: boolean;
  /** Who answers, when the page's address names an agent. */
  readonly agent: string | undefined;
}

export function App({ client, apiKey, sessionId, isKnown, agent }: AppProps) {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.getState);
  const onError = useCallback(
    ({ failure }: AgentError) => {
      if (wantsKey(failure)) apiKey.refuse();
    },
    [apiKey],
  );
  const session = useMemo(
    () => ({ client, sessionId, agent, loadHistory: isKnown }),
    [client, sessionId, agent, isKnown],
  );
  const { snapshot, error, retry, reload } = useAgentStream({ ...session, onError });
  const { turns, historyFailure } = snapshot;

  // The history's refusal is no run's error
  useEffect(() => {
    if (historyFailure !== undefined && wantsKey(historyFailure)) apiKey.refuse();
  }, [apiKey, historyFailure]);

  // From the first message on, a reload goes on where this page was
  useEffect(() => {
    if (turns.length > 0) history.replaceState(null, "", addressOf(location.search, sessionId));
  }, [turns.length, sessionId]);

  const enterKey = (text: string) => {
    apiKey.use(text);
    if (historyFailure !== undefined) reload();
    if (error !== null && wantsKey(error.failure)) retry();
  };
  return (
    <div className="page">
      <header className="bar">
        <h1 className="brand">
          <Mark />
          <span className="brand-name">Tokenwire</span>
        </h1>
        {agent === undefined ? null : (
          <p className="agent" data-testid="agent" title={agent}>
            <span className="hidden">Agent: </span>
            {agent}
          </p>
        )}
        {key.held ? (
          <button type="button" className="quiet" data-testid="api-key-forget" onClick={apiKey.forget}>
            Forget key
          </button>
        ) : null}
        {turns.length === 0 ? null : (
          <a className="quiet" data-testid="new-chat" href={addressOf(location.search, undefined)}>
            New chat
          </a>
        )}
        <StatusPill status={statusOf(snapshot)} />
      </header>
      <main className="main">
        <StreamingChat
          {...session}
          autoFocus
          label="Conversation with the agent"
          introduction="Every token goes from the model to this page the moment it exists."
          examples={examplesFor(agent)}
          renderFooter={footerOf}
          describeFailure={waitsForKey}
          dock={key.wanted === undefined ? undefined : <KeyForm wanted={key.wanted} onUse={enterKey} />}
        />
      </main>
    </div>
  );
}

function footerOf(run: RunState) {
  return <RunFooter run={run} />;
}

function waitsForKey(failure: Failure): string | undefined {
  return wantsKey(failure) ? "Waits for an API key" : undefined;
}

function StatusPill({ status }: { readonly status: Status }) {
  return (
    <p className={`status status-${status.kind}`} data-testid="status" role="status">
      {status.text}
    </p>
  );
}
