import { memo, type MouseEvent, useId, useRef, useState, useSyncExternalStore } from "react";
import type { Conversation, Conversations } from "./conversations.ts";
import { CloseIcon, ListIcon } from "./icons.tsx";
import { addressFor } from "./page-address.ts";

interface ConversationListProps {
  readonly conversations: Conversations;
  /** The one that is shown. */
  readonly sessionId: string;
  readonly agent: string | undefined;
}

/** A button, and the list of this browser's conversations that it opens. Tokens that arrive do not draw it again. */
export const ConversationList = memo(function ConversationList({
  conversations,
  sessionId,
  agent,
}: ConversationListProps) {
  const list = useSyncExternalStore(conversations.subscribe, conversations.getList);
  const dialog = useRef<HTMLDialogElement>(null);
  const close = useRef<HTMLButtonElement>(null);
  const [removed, setRemoved] = useState("");
  const id = useId();

  const remove = ({ sessionId: gone, title }: Conversation) => {
    conversations.remove(gone);
    setRemoved(`Removed: ${title}`);
    // The button that had the focus is gone.
    close.current?.focus();
  };
  return (
    <>
      <button
        type="button"
        className="tool"
        data-testid="conversations"
        aria-haspopup="dialog"
        onClick={() => {
          setRemoved("");
          dialog.current?.showModal();
        }}
      >
        <ListIcon />
        <span className="tool-name">Chats</span>
      </button>
      <dialog ref={dialog} className="drawer" aria-labelledby={id} onClick={closeOutside}>
        <div className="drawer-sheet" data-testid="conversation-list">
          <div className="drawer-head">
            <h2 id={id}>Chats</h2>
            <button
              type="button"
              className="tool"
              ref={close}
              aria-label="Close the list"
              onClick={() => {
                dialog.current?.close();
              }}
            >
              <CloseIcon />
            </button>
          </div>
          <a className="drawer-new" href={addressFor({ agent, sessionId: undefined })}>
            New chat
          </a>
          <ul className="conversations">
            {list.map((conversation) => (
              <Entry
                key={conversation.sessionId}
                conversation={conversation}
                isShown={conversation.sessionId === sessionId}
                onRemove={remove}
              />
            ))}
          </ul>
          <p className="drawer-note">
            {list.length === 0 ? "What you ask will be listed here. " : null}
            The list is kept in this browser. The server keeps the messages, for a limited time.
          </p>
          <p className="hidden" role="status">
            {removed}
          </p>
        </div>
      </dialog>
    </>
  );
});

/** The dialog fills its window but for the sheet: a click that meets the dialog itself was beside the sheet. */
function closeOutside(event: MouseEvent<HTMLDialogElement>) {
  if (event.target === event.currentTarget) event.currentTarget.close();
}

interface EntryProps {
  readonly conversation: Conversation;
  readonly isShown: boolean;
  readonly onRemove: (conversation: Conversation) => void;
}

const when = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

function Entry({ conversation, isShown, onRemove }: EntryProps) {
  const { title, agent, atMs } = conversation;
  const at = new Date(atMs);
  return (
    <li>
      <a href={addressFor(conversation)} aria-current={isShown ? "page" : undefined}>
        <span className="conversation-title">{title}</span>
        <span className="conversation-facts">
          {agent === undefined ? null : `${agent} · `}
          <time dateTime={at.toISOString()}>{when.format(at)}</time>
        </span>
      </a>
      <button
        type="button"
        className="tool"
        aria-label={`Remove from the list: ${title}`}
        title="Remove from the list"
        onClick={() => {
          onRemove(conversation);
        }}
      >
        <CloseIcon />
      </button>
    </li>
  );
}
