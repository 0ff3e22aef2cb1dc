import type { ToolCall } from "@tokenwire/client";
import { memo } from "react";
import { AlertIcon, CheckIcon } from "./icons.tsx";
import { ToolInput, ToolOutput } from "./tool-blocks.tsx";
import { briefOf } from "./tool-data.ts";

interface ToolCardProps {
  readonly call: ToolCall;
  readonly running: boolean;
}

/** `unfinished`: the run ended before the call did. */
export type CallState = "running" | "done" | "failed" | "unfinished";

const STATE_WORDS: Readonly<Record<CallState, string>> = {
  running: "running",
  done: "done",
  failed: "failed",
  unfinished: "no result",
};

/** One call: what was asked for in a line, and all of it when it is opened. */
export const ToolCard = memo(function ToolCard({ call, running }: ToolCardProps) {
  const state = callState(call, running);
  return (
    <details className={`tw-tool tw-tool-${state}`} data-testid="tool" data-state={state}>
      <summary>
        <span className="tw-tool-sign">
          {state === "done" ? <CheckIcon /> : null}
          {state === "failed" ? <AlertIcon /> : null}
        </span>
        <code>{call.tool}</code>
        <span className="tw-tool-brief">{briefOf(call.args)}</span>
        <span className="tw-tool-state">{STATE_WORDS[state]}</span>
      </summary>
      <ToolInput args={call.args} />
      {call.outcome === undefined ? null : <ToolOutput {...call.outcome} />}
    </details>
  );
});

export function callState({ outcome }: ToolCall, running: boolean): CallState {
  if (outcome !== undefined) return outcome.isError ? "failed" : "done";
  return running ? "running" : "unfinished";
}
