import { createElement } from "react";

interface EmptyStateProps {
  readonly title: string;
  readonly text: string | undefined;
  readonly examples: readonly string[];
  readonly headingLevel: number;
  readonly onPick: (message: string) => void;
}

/** What a conversation shows before its first message. */
export function EmptyState({ title, text, examples, headingLevel, onPick }: EmptyStateProps) {
  return (
    <div className="tw-empty">
      {createElement(`h${headingLevel}`, undefined, title)}
      {text === undefined ? null : <p>{text}</p>}
      {examples.length === 0 ? null : (
        <ul className="tw-examples" aria-label="Examples">
          {examples.map((example) => (
            <li key={example}>
              <button
                type="button"
                onClick={() => {
                  onPick(example);
                }}
              >
                {example}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
