import type { SessionSnapshot } from "@tokenwire/client/session";
import type { ReactNode } from "react";
import { useAgentStream, type UseAgentStreamOptions } from "../hook/use-agent-stream.ts";
import type { TurnOptions } from "./chat-options.ts";
import { Composer } from "./composer.tsx";
import { ConnectionBanner } from "./connection-banner.tsx";
import { EmptyState } from "./empty-state.tsx";
import { TurnView } from "./turn-view.tsx";
import { useStickToBottom } from "./use-stick-to-bottom.ts";

/** Props of {@link StreamingChat}. */
export interface StreamingChatProps extends UseAgentStreamOptions, TurnOptions {
  /** What screen readers call it. Default "Chat". */
  readonly label?: string | undefined;
  /** The heading before the first message. */
  readonly title?: string | undefined;
  /** A sentence below it. */
  readonly introduction?: string | undefined;
  /** Messages to begin with: what this agent is good at. */
  readonly examples?: readonly string[] | undefined;
  readonly placeholder?: string | undefined;
  /** Whether the input has the focus from the start. Only where the page has no other purpose. Default false. */
  readonly autoFocus?: boolean | undefined;
  /** Stands in the input's place while given, as a form that signs in. What was typed stays. */
  readonly dock?: ReactNode;
  /** A class of your own beside `tw-chat`. */
  readonly className?: string | undefined;
}

const NO_EXAMPLES: readonly string[] = [];

/**
 * A chat with an agent: messages, tools, progress, Stop, and the connection's state.
 *
 * It fills its container, which gives it a height, and forces nothing on the page around it. Its looks are in
 * `@tokenwire/react/styles.css`, its colours in CSS variables; light or dark is the page's `color-scheme`.
 */
export function StreamingChat(props: StreamingChatProps) {
  const { label = "Chat", title = "Ask, and watch the answer arrive.", examples = NO_EXAMPLES } = props;
  const { placeholder = "Ask something", autoFocus = false, dock, className, headingLevel = 2 } = props;
  const { snapshot, sendMessage, abort, retry, regenerate, reload } = useAgentStream(props);
  const { region, column, stuck, stick } = useStickToBottom();
  const { turns, running } = snapshot;
  const newest = turns.at(-1);

  const send = (message: string) => {
    if (running || message.trim() === "") return false;
    void sendMessage(message);
    stick();
    return true;
  };
  return (
    <section className={className === undefined ? "tw-chat" : `tw-chat ${className}`} aria-label={label}>
      {/* A scrolling region must be reachable by keyboard (WCAG 2.1.1) */}
      <div className="tw-thread" ref={region} tabIndex={0} role="group" aria-label="Conversation">
        <div className="tw-column" ref={column}>
          <History snapshot={snapshot} onReload={reload} />
          {turns.length === 0 && snapshot.history !== "loading" ? (
            <EmptyState
              title={title}
              text={props.introduction}
              examples={examples}
              headingLevel={headingLevel}
              onPick={send}
            />
          ) : null}
          {turns.map((turn) => (
            <TurnView
              key={turn.id}
              turn={turn}
              isNewest={turn === newest}
              canAct={!running && dock === undefined}
              onRetry={retry}
              onRegenerate={regenerate}
              headingLevel={headingLevel}
              agentName={props.agentName}
              renderFooter={props.renderFooter}
              describeFailure={props.describeFailure}
            />
          ))}
        </div>
      </div>
      <div className="tw-dock">
        {stuck ? null : (
          <button type="button" className="tw-latest" onClick={stick}>
            Latest ↓
          </button>
        )}
        <ConnectionBanner turn={newest} onRetry={retry} describeFailure={props.describeFailure} />
        {dock}
        <Composer
          hidden={dock !== undefined}
          running={running}
          stopping={newest?.run.stopping === true}
          autoFocus={autoFocus}
          placeholder={placeholder}
          unsent={snapshot.unsent}
          onSend={send}
          onStop={abort}
        />
      </div>
      <p className="tw-hidden" role="status">
        {statusText(snapshot)}
      </p>
    </section>
  );
}

interface HistoryProps {
  readonly snapshot: SessionSnapshot;
  readonly onReload: () => void;
}

function History({ snapshot: { history, historyFailure }, onReload }: HistoryProps) {
  if (history === "loading") return <p className="tw-note">Loading the conversation…</p>;
  // The page that asks for a key says so itself.
  if (history !== "failed" || historyFailure?.status === 401) return null;
  return (
    <div className="tw-note" role="alert">
      <p>The messages of before could not be loaded. {historyFailure?.message}</p>
      <button type="button" onClick={onReload}>
        Try again
      </button>
    </div>
  );
}

/** What a screen reader says while the eyes see dots. */
function statusText({ status }: SessionSnapshot): string {
  if (status === "submitted") return "Waiting for the answer";
  if (status === "streaming") return "The answer is being written";
  if (status === "stopping") return "Stopping";
  return "";
}
