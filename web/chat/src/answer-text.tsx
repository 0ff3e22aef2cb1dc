import { MarkdownText } from "./markdown/markdown-text.tsx";

interface AnswerTextProps {
  readonly segments: readonly string[];
  readonly running: boolean;
}

/**
 * The answer, as text with a little Markdown and never as HTML.
 *
 * `aria-busy` makes screen readers wait for the whole answer instead of
 * speaking single tokens.
 */
export function AnswerText({ segments, running }: AnswerTextProps) {
  const empty = segments.every((segment) => segment === "");
  return (
    <div className="answer" data-testid="answer" aria-live="polite" aria-busy={running}>
      {segments.map((segment, index) =>
        segment === "" ? null : (
          // Segments have no name but their place
          <MarkdownText key={index} text={segment} live={running && index === segments.length - 1} />
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
