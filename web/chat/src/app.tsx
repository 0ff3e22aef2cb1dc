import { useSyncExternalStore } from "react";
import type { ApiKey } from "./api-key.ts";
import type { ChatStore } from "./chat-store.ts";
import { Composer } from "./composer.tsx";
import { EmptyState } from "./empty-state.tsx";
import { Mark } from "./icons.tsx";
import { KeyForm } from "./key-form.tsx";
import { type Status, statusOf } from "./status-text.ts";
import { TurnView } from "./turn-view.tsx";
import { useStickToBottom } from "./use-stick-to-bottom.ts";

interface AppProps {
  readonly store: ChatStore;
  readonly apiKey: ApiKey;
  /** Who answers, when the page's address names somebody. */
  readonly agent?: string | undefined;
}

export function App({ store, apiKey, agent }: AppProps) {
  const key = useSyncExternalStore(apiKey.subscribe, apiKey.getState);
  const chat = useSyncExternalStore(store.subscribe, store.getChat);
  const { region, stuck, stick } = useStickToBottom(chat);
  const ask = (text: string) => {
    const sent = store.send(text);
    if (sent) stick();
    return sent;
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
          <button type="button" className="forget" data-testid="api-key-forget" onClick={apiKey.forget}>
            Forget key
          </button>
        ) : null}
        <StatusPill status={statusOf(chat.turns.find(({ state }) => state.outcome === undefined)?.state)} />
      </header>
      {/* A scrolling region must be reachable by keyboard (WCAG 2.1.1) */}
      <main className="thread" ref={region} tabIndex={0} aria-label="Conversation">
        <div className="column">
          {chat.turns.length === 0 ? <EmptyState onPick={ask} /> : null}
          {chat.turns.map((turn) => (
            <TurnView
              key={turn.id}
              turn={turn}
              canRetry={!chat.running && key.wanted === undefined}
              onRetry={store.retry}
            />
          ))}
        </div>
      </main>
      <div className="dock">
        {stuck ? null : (
          <button type="button" className="latest" onClick={stick}>
            Latest ↓
          </button>
        )}
        {key.wanted === undefined ? null : <KeyForm wanted={key.wanted} onUse={store.useKey} />}
        <Composer
          hidden={key.wanted !== undefined}
          running={chat.running}
          stopping={chat.turns.at(-1)?.state.stopping === true}
          onSend={ask}
          onStop={store.stop}
        />
      </div>
    </div>
  );
}

function StatusPill({ status }: { readonly status: Status }) {
  return (
    <p className={`status status-${status.kind}`} data-testid="status" role="status">
      {status.text}
    </p>
  );
}
