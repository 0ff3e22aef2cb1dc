import type { JsonValue, ToolCall } from "@tokenwire/client";
import { AlertIcon, CheckIcon } from "./icons.tsx";
import { ToolInput, ToolOutput } from "./tool-blocks.tsx";
import { readInput } from "./tool-data.ts";

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
      <ToolInput args={call.args} />
      {call.outcome === undefined ? null : <ToolOutput {...call.outcome} />}
    </details>
  );
}

function stateOf({ outcome }: ToolCall, running: boolean): CallState {
  if (outcome !== undefined) return outcome.isError ? "failed" : "done";
  return running ? "running" : "unfinished";
}

// CSS cuts the line at the card's edge; this only keeps a book out of the page's tree.
const BRIEF_LENGTH = 160;

function brief(args: JsonValue): string {
  const { sql } = readInput(args);
  const text = sql?.replace(/\s+/g, " ") ?? (args === null ? "" : JSON.stringify(args));
  return text.trim().slice(0, BRIEF_LENGTH);
}
