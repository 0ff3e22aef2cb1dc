const EXAMPLES = [
  "List three fruits.",
  "Explain server-sent events in two sentences.",
  "Write a haiku about latency.",
];

export function EmptyState({ onPick }: { readonly onPick: (question: string) => void }) {
  return (
    <section className="empty">
      <h2>Ask, and watch the answer arrive.</h2>
      <p>Every token goes from the model to this page the moment it exists.</p>
      <ul className="examples" aria-label="Examples">
        {EXAMPLES.map((example) => (
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
    </section>
  );
}
