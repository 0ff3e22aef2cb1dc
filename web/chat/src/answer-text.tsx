interface AnswerTextProps {
  readonly segments: readonly string[];
  readonly running: boolean;
}

/**
 * The answer, as text and never as HTML.
 *
 * `aria-busy` makes screen readers wait for the whole answer instead of
 * speaking single tokens.
 */
export function AnswerText({ segments, running }: AnswerTextProps) {
  const empty = segments.every((segment) => segment === "");
  return (
    <div
      className={running && !empty ? "answer answer-live" : "answer"}
      data-testid="answer"
      aria-live="polite"
      aria-busy={running}
    >
      {segments.map((segment, index) =>
        segment === "" ? null : (
          // Segments have no name but their place
          <p key={index}>{segment}</p>
        ),
      )}
      {running && empty ? <Typing /> : null}
    </div>
  );
}

function Typing() {
  return (
    <span className="typing" role="img" aria-label="The answer is on its way">
      <i />
      <i />
      <i />
    </span>
  );
}
