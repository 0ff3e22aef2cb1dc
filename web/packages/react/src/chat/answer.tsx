import type { RunState } from "@tokenwire/client";
import { Markdown } from "../markdown/markdown.tsx";

interface AnswerProps {
  readonly run: RunState;
  readonly headingLevel: number;
}

/**
 * The answer, and a sign that it is on its way.
 *
 * `aria-busy` makes screen readers wait for the whole answer instead of speaking single tokens.
 */
export function Answer({ run, headingLevel }: AnswerProps) {
  const { segments } = run;
  const running = run.outcome === undefined;
  const empty = segments.every((segment) => segment === "");
  return (
    <div className="tw-answer" data-testid="answer" aria-live="polite" aria-busy={running}>
      {segments.map((segment, index) =>
        segment === "" ? null : (
          <Markdown
            // Segments have no name but their place
            key={index}
            text={segment}
            live={running && index === segments.length - 1}
            headingLevel={headingLevel}
          />
        ),
      )}
      {running && empty ? <Typing /> : null}
    </div>
  );
}

function Typing() {
  return (
    <span className="tw-typing" role="img" aria-label="The answer is on its way">
      <i />
      <i />
      <i />
    </span>
  );
}
