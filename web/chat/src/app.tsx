import type { Client, Failure, RunState } from "@tokenwire/client";
import type { SessionTurn } from "@tokenwire/client/session";
import { type AgentError, StreamingChat, useAgentStream } from "@tokenwire/react";
import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { type ApiKey, wantsKey } from "./api-key.ts";
import { ConversationList } from "./conversation-list.tsx";
import type { Conversations } from "./conversations.ts";
import { examplesFor } from "./examples.ts";
import { Mark, PulseIcon } from "./icons.tsx";
import { KeyForm } from "./key-form.tsx";
import { LatencySide } from "./latency/latency-side.tsx";
import type { LatencySwitch } from "./latency/latency-switch.ts";
import { addressOf } from "./page-address.ts";
import { RunFooter } from "./run-footer.tsx";
import { type Status, statusOf } from "./status-text.ts";

interface AppProps {
  readonly client: Client;
  readonly apiKey: ApiKey;
  readonly conversations: Conversations;
  readonly latency: LatencySwitch;
  readonly sessionId: string;
  /** The address named the session: there may be messages of before. */
  readonly isKnown: boolean;
  /** Who answers, when the page's address names an agent. */
  readonly agent: string | undefined;
}

export function App({ client, apiKey, conversations, latency, sessionId, isKnown, agent }: AppProps) {
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
  const { open: showsLatency } = useSyncExternalStore(latency.subscribe, latency.getChoice);
  const latencyButton = useRef<HTMLButtonElement>(null);

  // The history's refusal is no run's error
  useEffect(() => {
    if (historyFailure !== undefined && wantsKey(historyFailure)) apiKey.refuse();
  }, [apiKey, historyFailure]);

  // From the first message on, a reload goes on where this page was
  useEffect(() => {
    if (turns.length > 0) history.replaceState(null, "", addressOf(location.search, sessionId));
  }, [turns.length, sessionId]);

  useListing(conversations, turns, sessionId, agent);

  const closeLatency = useCallback(() => {
    latency.choose({ open: false });
    latencyButton.current?.focus();
  }, [latency]);
  const forgetKey = () => {
    apiKey.forget();
    // What was asked with the key is its owner's.
    conversations.clear();
  };
  const enterKey = (text: string) => {
    apiKey.use(text);
    if (historyFailure !== undefined) reload();
    if (error !== null && wantsKey(error.failure)) retry();
  };
  return (
    <div className="page">
      <header className="bar">
        <ConversationList conversations={conversations} sessionId={sessionId} agent={agent} />
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
          <button type="button" className="quiet" data-testid="api-key-forget" onClick={forgetKey}>
            Forget key
          </button>
        ) : null}
        {turns.length === 0 ? null : (
          <a className="quiet new-chat" data-testid="new-chat" href={addressOf(location.search, undefined)}>
            New chat
          </a>
        )}
        <button
          type="button"
          className="tool tool-late"
          data-testid="latency"
          ref={latencyButton}
          aria-expanded={showsLatency}
          onClick={() => {
            latency.choose({ open: !showsLatency });
          }}
        >
          <PulseIcon />
          <span className="tool-name">Latency</span>
        </button>
        <StatusPill status={statusOf(snapshot)} />
      </header>
      <main className="main">
        <StreamingChat
          {...session}
          autoFocus
          label="Conversation with the agent"
          introduction={introductionOf(isKnown && snapshot.history === "loaded")}
          examples={examplesFor(agent)}
          renderFooter={footerOf}
          describeFailure={waitsForKey}
          dock={key.wanted === undefined ? undefined : <KeyForm wanted={key.wanted} onUse={enterKey} />}
        />
      </main>
      {showsLatency ? (
        <LatencySide
          client={client}
          sessionId={sessionId}
          latency={latency}
          headers={apiKey.headers}
          onClose={closeLatency}
        />
      ) : null}
    </div>
  );
}

/** Keep the conversation on the list, for each message that was said here: one that was opened only is not. */
function useListing(
  conversations: Conversations,
  turns: readonly SessionTurn[],
  sessionId: string,
  agent: string | undefined,
) {
  const said = turns.findLast(({ id, runId, run }) => id !== runId && !run.joined)?.id;
  const title = turns[0]?.message ?? "";
  useEffect(() => {
    if (said !== undefined) conversations.touch({ sessionId, title, agent, atMs: Date.now() });
    // A title that is known later changes nothing: the first one stays.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [conversations, said, sessionId, agent]);
}

/** Return what stands before the first message. */
function introductionOf(isEmptyHistory: boolean): string {
  return isEmptyHistory
    ? "The server has no messages of this conversation, or none any more."
    : "Every token goes from the model to this page the moment it exists.";
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
