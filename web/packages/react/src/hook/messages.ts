import { answerText, type RunState } from "@tokenwire/client";
import type { SessionTurn } from "@tokenwire/client/session";

/** What one side said. A new object only when something in it has changed. */
export interface AgentMessage {
  /** Fit for a key. */
  readonly id: string;
  /** Who said it. */
  readonly role: "user" | "assistant";
  /** The text exactly: an answer's Markdown as the model wrote it. */
  readonly content: string;
  /** When the user spoke. */
  readonly timestamp: Date;
  /** The turn that the message is part of: for `retry` and `regenerate`. */
  readonly turnId: string;
  /** The run behind an answer: its tools, progress, outcome. Undefined for what the user said. */
  readonly run: RunState | undefined;
}

const MESSAGES = new WeakMap<SessionTurn, readonly AgentMessage[]>();

/** Return what both sides said, oldest first. */
export function messagesOf(turns: readonly SessionTurn[]): readonly AgentMessage[] {
  return turns.flatMap((turn) => {
    const messages = MESSAGES.get(turn) ?? turnMessages(turn);
    MESSAGES.set(turn, messages);
    return messages;
  });
}

function turnMessages({ id: turnId, message, createdAtMs, run }: SessionTurn): readonly AgentMessage[] {
  const timestamp = new Date(createdAtMs ?? 0);
  const said = {
    id: `${turnId}:user`,
    role: "user",
    content: message,
    timestamp,
    turnId,
    run: undefined,
  } as const;
  const answer = { id: turnId, role: "assistant", content: answerText(run), timestamp, turnId, run } as const;
  return message === "" ? [answer] : [said, answer];
}
