import type { RunState } from "@tokenwire/client";
import { footerFacts } from "./footer-facts.ts";

/** The line under an answer: its pace as measured here, its model, and its trace. */
export function RunFooter({ run }: { readonly run: RunState }) {
  const facts = [...footerFacts(run), ...(run.model === undefined || run.model === "" ? [] : [run.model])];
  if (facts.length === 0 && run.traceId === undefined) return null;
  return (
    <footer className="facts" data-testid="footer">
      {facts.map((fact) => (
        <span key={fact}>{fact}</span>
      ))}
      {run.traceId === undefined ? null : (
        <span>
          trace <code>{run.traceId}</code>
        </span>
      )}
    </footer>
  );
}
