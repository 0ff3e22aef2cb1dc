import type { JsonValue, ToolCall } from "@tokenwire/client";
import { AlertIcon, CheckIcon } from "./icons.tsx";

interface ToolCardProps {
  readonly call: ToolCall;
  readonly running: boolean;
}

type CallState = "running" | "done" | "failed" | "unfinished";

const STATE_WORDS: Readonly<Record<CallState, string>> = {
  running: "running",
  done: "done",
  failed: "failed",
  unfinished: "no result",
};

export function ToolCard({ call, running }: ToolCardProps) {
  const state = stateOf(call, running);
  return (
    <details className={`tool tool-${state}`} data-testid="tool" data-state={state} open={state === "failed"}>
      <summary>
        <span className="tool-sign">
          {state === "done" ? <CheckIcon /> : null}
          {state === "failed" ? <AlertIcon /> : null}
        </span>
        <code>{call.tool}</code>
        <span className="tool-brief">{brief(call.args)}</span>
        <span className="tool-state">{STATE_WORDS[state]}</span>
      </summary>
      <JsonBlock title="Arguments" value={call.args} />
      {call.outcome === undefined ? null : (
        <JsonBlock title={call.outcome.isError ? "Error" : "Result"} value={call.outcome.result} />
      )}
    </details>
  );
}

function JsonBlock({ title, value }: { readonly title: string; readonly value: JsonValue }) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return (
    <section className="json">
      <h3>{title}</h3>
      {/* A scrolling region must be reachable by keyboard (WCAG 2.1.1) */}
      <pre tabIndex={0}>{text}</pre>
    </section>
  );
}

function stateOf({ outcome }: ToolCall, running: boolean): CallState {
  if (outcome !== undefined) return outcome.isError ? "failed" : "done";
  return running ? "running" : "unfinished";
}

// CSS cuts the line at the card's edge; this only keeps a book out of the page's tree.
const BRIEF_LENGTH = 160;

function brief(args: JsonValue): string {
  return args === null ? "" : JSON.stringify(args).slice(0, BRIEF_LENGTH);
}
