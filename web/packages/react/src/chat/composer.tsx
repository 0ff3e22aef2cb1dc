import { type KeyboardEvent, type SyntheticEvent, useEffect, useId, useRef, useState } from "react";
import { SendIcon, StopIcon } from "./icons.tsx";

interface ComposerProps {
  /** Something else must be answered first: what is typed stays. */
  readonly hidden: boolean;
  readonly running: boolean;
  readonly stopping: boolean;
  readonly autoFocus: boolean;
  readonly placeholder: string;
  /** A message that was not sent: it comes back into the empty input. */
  readonly unsent: string | undefined;
  /** Return whether the message was taken. */
  readonly onSend: (message: string) => boolean;
  readonly onStop: () => void;
}

/** Where the user types. Enter sends, and a new line needs Shift. */
export function Composer(props: ComposerProps) {
  const { hidden, running, stopping, autoFocus, placeholder, unsent, onSend, onStop } = props;
  const [text, setText] = useState("");
  const [returned, setReturned] = useState<string>();
  const box = useRef<HTMLTextAreaElement>(null);
  const id = useId();

  if (unsent !== returned) {
    setReturned(unsent);
    if (unsent !== undefined && text === "") setText(unsent);
  }

  useEffect(() => {
    if (autoFocus && !hidden) box.current?.focus();
  }, [autoFocus, hidden]);

  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    if (onSend(text)) setText("");
    box.current?.focus();
  };
  const sendOnEnter = (event: KeyboardEvent) => {
    // While an input method composes, Enter chooses a word.
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) submit(event);
  };
  const stop = () => {
    onStop();
    // The button goes away with the run; the focus must not go with it.
    box.current?.focus();
  };

  return (
    <form className="tw-composer" hidden={hidden} onSubmit={submit}>
      <label className="tw-hidden" htmlFor={id}>
        Your message
      </label>
      <textarea
        id={id}
        data-testid="question"
        ref={box}
        rows={1}
        value={text}
        placeholder={placeholder}
        aria-describedby={`${id}-keys`}
        enterKeyHint="send"
        onChange={(event) => {
          setText(event.target.value);
        }}
        onKeyDown={sendOnEnter}
      />
      {running ? (
        <button
          type="button"
          className="tw-act tw-act-stop"
          data-testid="stop"
          aria-disabled={stopping}
          onClick={stop}
        >
          <StopIcon />
          {stopping ? "Stopping" : "Stop"}
        </button>
      ) : (
        <button type="submit" className="tw-act tw-act-send" data-testid="send" disabled={text.trim() === ""}>
          <SendIcon />
          Send
        </button>
      )}
      <p className="tw-keys" id={`${id}-keys`}>
        <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> starts a new line
      </p>
    </form>
  );
}
