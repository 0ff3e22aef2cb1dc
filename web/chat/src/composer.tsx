import { type KeyboardEvent, type SyntheticEvent, useEffect, useRef, useState } from "react";
import { SendIcon, StopIcon } from "./icons.tsx";

interface ComposerProps {
  /** Something else must be answered first: what is typed stays. */
  readonly hidden: boolean;
  readonly running: boolean;
  readonly stopping: boolean;
  /** Return whether the question was taken. */
  readonly onSend: (question: string) => boolean;
  readonly onStop: () => void;
}

export function Composer({ hidden, running, stopping, onSend, onStop }: ComposerProps) {
  const [text, setText] = useState("");
  const box = useRef<HTMLTextAreaElement>(null);

  // The page has one purpose, and nothing else stands before this box
  useEffect(() => {
    if (!hidden) box.current?.focus();
  }, [hidden]);

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
    <form className="composer" hidden={hidden} onSubmit={submit}>
      <label className="hidden" htmlFor="question">
        Your question
      </label>
      <textarea
        id="question"
        data-testid="question"
        ref={box}
        rows={1}
        value={text}
        placeholder="Ask something"
        aria-describedby="question-keys"
        enterKeyHint="send"
        onChange={(event) => {
          setText(event.target.value);
        }}
        onKeyDown={sendOnEnter}
      />
      {running ? (
        <button
          type="button"
          className="act act-stop"
          data-testid="stop"
          aria-disabled={stopping}
          onClick={stop}
        >
          <StopIcon />
          {stopping ? "Stopping" : "Stop"}
        </button>
      ) : (
        <button type="submit" className="act act-send" data-testid="send" disabled={text.trim() === ""}>
          <SendIcon />
          Send
        </button>
      )}
      <p className="keys" id="question-keys">
        <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> starts a new line
      </p>
    </form>
  );
}
