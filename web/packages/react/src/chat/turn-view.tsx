import { answerText, type RunState } from "@tokenwire/client";
import type { SessionTurn } from "@tokenwire/client/session";
import { createElement, memo } from "react";
import { CopyButton } from "../copy-button.tsx";
import { Answer } from "./answer.tsx";
import type { TurnOptions } from "./chat-options.ts";
import { FailureCard } from "./failure-card.tsx";
import { ProgressLine } from "./progress-line.tsx";
import { ToolGroup } from "./tool-group.tsx";

interface TurnViewProps extends TurnOptions {
  readonly turn: SessionTurn;
  readonly isNewest: boolean;
  /** Nothing else goes on. */
  readonly canAct: boolean;
  readonly onRetry: (turnId: string) => void;
  readonly onRegenerate: (turnId: string) => void;
}

/** What the user said, and what came of it. */
export const TurnView = memo(function TurnView(props: TurnViewProps) {
  const { turn, headingLevel = 2 } = props;
  return (
    <>
      {turn.message === "" ? null : (
        <article className="tw-said" data-testid="turn-user" aria-label="You">
          {createElement(`h${headingLevel}`, { className: "tw-hidden" }, "You")}
          <p>{turn.message}</p>
        </article>
      )}
      <AnswerView {...props} />
    </>
  );
});

function AnswerView(props: TurnViewProps) {
  const { turn, headingLevel = 2, agentName, renderFooter } = props;
  const { run } = turn;
  const running = run.outcome === undefined;
  const name = agentName ?? titleOf(run.agent);
  return (
    <article className="tw-turn" data-testid="turn-assistant" data-status={run.status} aria-label={name}>
      {createElement(`h${headingLevel}`, { className: "tw-byline" }, name)}
      {run.reasoning === "" ? null : (
        <details className="tw-reasoning">
          <summary>Reasoning</summary>
          <p>{run.reasoning}</p>
        </details>
      )}
      {run.tools.length === 0 ? null : <ToolGroup tools={run.tools} running={running} />}
      {running && run.progress !== undefined ? <ProgressLine progress={run.progress} /> : null}
      <Answer run={run} headingLevel={headingLevel + 1} />
      <Endnotes {...props} />
      <Failed {...props} />
      {running ? null : <Actions {...props} />}
      {running ? null : renderFooter?.(run)}
    </article>
  );
}

/** Return an agent's name as people write it: "Net asset values" for `net_asset-values`. */
function titleOf(agent: string | undefined): string {
  if (agent === undefined || agent === "") return "Assistant";
  const words = agent.replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

const ENDNOTES = {
  stop: undefined,
  cancelled: "Stopped",
  length: "Cut short: the model reached its limit of tokens",
  tool_limit: "Ended early: the agent reached its limit of tool calls",
} as const;

/** What a reader must know of the answer above it. */
function Endnotes({ turn, describeFailure }: TurnViewProps) {
  const { outcome, gap } = turn.run;
  const failure = outcome?.kind === "failed" ? outcome.failure : undefined;
  const notes = [
    outcome?.kind === "done" ? ENDNOTES[outcome.finishReason] : undefined,
    gap ? "Part of this answer was lost on the way" : undefined,
    failure &&
      (describeFailure?.(failure) ??
        (failure.resumable ? "Not complete: the connection was lost" : undefined)),
  ].filter((note) => note !== undefined);
  return notes.map((note) => (
    <p className="tw-endnote" key={note}>
      {note}
    </p>
  ));
}

/** A lost connection is told by the banner, which has the way back. */
function Failed({ turn, canAct, onRetry, describeFailure }: TurnViewProps) {
  const { outcome } = turn.run;
  if (outcome?.kind !== "failed" || outcome.failure.resumable) return null;
  if (describeFailure?.(outcome.failure) !== undefined) return null;
  const retry = () => {
    onRetry(turn.id);
  };
  return <FailureCard failure={outcome.failure} canRetry={canAct} onRetry={retry} />;
}

function Actions({ turn, isNewest, canAct, onRegenerate }: TurnViewProps) {
  const text = answerText(turn.run);
  const canRegenerate = isNewest && turn.message !== "" && isOver(turn.run);
  if (text === "" && !canRegenerate) return null;
  return (
    <div className="tw-actions">
      {text === "" ? null : <CopyButton text={text} label="Copy answer" />}
      {canRegenerate ? (
        <button
          type="button"
          className="tw-quiet"
          data-testid="regenerate"
          disabled={!canAct}
          onClick={() => {
            onRegenerate(turn.id);
          }}
        >
          Ask again
        </button>
      ) : null}
    </div>
  );
}

/** Whether nothing more comes of it, and no card offers to try again. */
function isOver({ outcome }: RunState): boolean {
  return outcome?.kind === "failed"
    ? !outcome.failure.retryable && !outcome.failure.resumable
    : outcome !== undefined;
}
