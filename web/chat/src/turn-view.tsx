import type { StreamState } from "@tokenwire/client";
import { memo } from "react";
import { AnswerText } from "./answer-text.tsx";
import { wantsKey } from "./api-key.ts";
import type { Turn } from "./chat-store.ts";
import { FailureCard } from "./failure-card.tsx";
import { footerFacts } from "./footer-facts.ts";
import { ProgressLine } from "./progress-line.tsx";
import { ToolCard } from "./tool-card.tsx";

interface TurnViewProps {
  readonly turn: Turn;
  readonly canRetry: boolean;
  readonly onRetry: (turnId: string) => void;
}

export const TurnView = memo(function TurnView({ turn, canRetry, onRetry }: TurnViewProps) {
  return (
    <>
      <article className="turn-user" data-testid="turn-user" aria-label="You">
        {turn.question}
      </article>
      <Assistant
        state={turn.state}
        canRetry={canRetry}
        onRetry={() => {
          onRetry(turn.id);
        }}
      />
    </>
  );
});

interface AssistantProps {
  readonly state: StreamState;
  readonly canRetry: boolean;
  readonly onRetry: () => void;
}

function Assistant({ state, canRetry, onRetry }: AssistantProps) {
  const { outcome } = state;
  const running = outcome === undefined;
  const name = [state.agent, state.model].filter((part) => part).join(" · ") || "Assistant";
  return (
    <article className="turn-assistant" data-testid="turn-assistant" aria-label={name}>
      <p className="byline">{name}</p>
      {state.reasoning === "" ? null : (
        <details className="reasoning">
          <summary>Reasoning</summary>
          <p>{state.reasoning}</p>
        </details>
      )}
      {state.tools.map((call, index) => (
        // Calls are only ever added, and ids are the agent's to repeat
        <ToolCard key={index} call={call} running={running} />
      ))}
      {state.progress === undefined ? null : <ProgressLine progress={state.progress} running={running} />}
      <AnswerText segments={state.segments} running={running} />
      <Endnote state={state} />
      {outcome?.kind === "failed" && !wantsKey(outcome.failure) ? (
        <FailureCard failure={outcome.failure} canRetry={canRetry} onRetry={onRetry} />
      ) : null}
      <Footer state={state} />
    </article>
  );
}

const ENDNOTES = {
  stop: undefined,
  cancelled: "Stopped",
  length: "Cut short: the model met its limit of tokens",
  tool_limit: "Ended early: the agent met its limit of tool calls",
} as const;

/** What a reader must know of the answer above it. */
function Endnote({ state }: { readonly state: StreamState }) {
  const ended = state.outcome?.kind === "done" ? ENDNOTES[state.outcome.finishReason] : undefined;
  const lost = state.gap ? "Part of this answer was lost on the way" : undefined;
  const waiting =
    state.outcome?.kind === "failed" && wantsKey(state.outcome.failure) ? "Waits for an API key" : undefined;
  const notes = [ended, lost, waiting].filter((note) => note !== undefined);
  return notes.map((note) => (
    <p className="endnote" key={note}>
      {note}
    </p>
  ));
}

function Footer({ state }: { readonly state: StreamState }) {
  const facts = footerFacts(state);
  if (state.outcome === undefined || (facts.length === 0 && state.traceId === undefined)) return null;
  return (
    <footer className="facts" data-testid="footer">
      {facts.map((fact) => (
        <span key={fact}>{fact}</span>
      ))}
      {state.traceId === undefined ? null : (
        <span>
          trace <code>{state.traceId}</code>
        </span>
      )}
    </footer>
  );
}
