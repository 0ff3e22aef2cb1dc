import type { ToolCall } from "@tokenwire/client";
import { useState } from "react";
import { AlertIcon, CheckIcon } from "./icons.tsx";
import { callState, ToolCard } from "./tool-card.tsx";

interface ToolGroupProps {
  readonly tools: readonly ToolCall[];
  readonly running: boolean;
}

/** The calls of a run: open while one of them runs, folded to a line when all have finished. */
export function ToolGroup({ tools, running }: ToolGroupProps) {
  const [chosen, setChosen] = useState<boolean>();
  const cards = tools.map((call, index) => (
    // Calls are only ever added, and ids are the agent's to repeat
    <ToolCard key={index} call={call} running={running} />
  ));
  if (tools.length < 2) return cards;
  const states = tools.map((call) => callState(call, running));
  const isOpen = chosen ?? states.includes("running");
  const failed = states.filter((state) => state === "failed").length;
  return (
    <details
      className="tw-tools"
      data-testid="tools"
      open={isOpen}
      onToggle={({ currentTarget }) => {
        if (currentTarget.open !== isOpen) setChosen(currentTarget.open);
      }}
    >
      <summary>
        <GroupSign isRunning={states.includes("running")} hasFailed={failed > 0} />
        <span className="tw-tools-count">{tools.length} tool calls</span>
        <span className="tw-tool-brief">{namesOf(tools)}</span>
        <span className="tw-tool-state">{failed > 0 ? `${failed} failed` : stateText(states)}</span>
      </summary>
      {cards}
    </details>
  );
}

interface GroupSignProps {
  readonly isRunning: boolean;
  readonly hasFailed: boolean;
}

function GroupSign({ isRunning, hasFailed }: GroupSignProps) {
  if (isRunning) return <span className="tw-tool-sign tw-busy" />;
  if (!hasFailed)
    return (
      <span className="tw-tool-sign">
        <CheckIcon />
      </span>
    );
  return (
    <span className="tw-tool-sign tw-danger">
      <AlertIcon />
    </span>
  );
}

function stateText(states: readonly string[]): string {
  const open = states.filter((state) => state === "running").length;
  return open > 0 ? `${states.length - open} done` : "done";
}

/** Return the tools by name, with how often each was called: "query_database × 12, validate". */
function namesOf(tools: readonly ToolCall[]): string {
  const counts = new Map<string, number>();
  for (const { tool } of tools) counts.set(tool, (counts.get(tool) ?? 0) + 1);
  return Array.from(counts, ([name, count]) => (count > 1 ? `${name} × ${count}` : name)).join(", ");
}
