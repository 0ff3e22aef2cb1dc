import type { Client, ConnectionStatus, Progress, RunStatus, ToolCall } from "@tokenwire/client";
import type { SessionOptions, SessionSnapshot } from "@tokenwire/client/session";
import { useCallback, useContext, useEffect, useMemo, useSyncExternalStore } from "react";
import { type AgentError, errorOf } from "./agent-error.ts";
import { Attachment } from "./attachment.ts";
import { AgentClientContext } from "./client-context.ts";
import { type AgentMessage, messagesOf } from "./messages.ts";

/** How far a longer operation has come. */
export interface AgentProgress {
  /** 0 to 100; 0 where a step does not say. */
  readonly percent: number;
  /** Empty before the first step. */
  readonly message: string;
}

/** Options of {@link useAgentStream}. */
export interface UseAgentStreamOptions {
  /** Names the conversation. Hooks with the same one share its messages and its stream. */
  readonly sessionId: string;
  /** Who answers; the server's default otherwise. */
  readonly agent?: string | undefined;
  /** What becomes of a run that nobody reads any more. Default `continue`. The first hook of a session decides. */
  readonly onDisconnect?: SessionOptions["onDisconnect"] | undefined;
  /** The way to the server; that of {@link AgentClientContext} otherwise. */
  readonly client?: Client | undefined;
  /** When text that arrived is shown. Default `buffered`. The first hook of a session decides. */
  readonly pacing?: SessionOptions["pacing"] | undefined;
  /**
   * Whether the tabs of a browser share one stream for each run. Default true. A string keeps apart what must not
   * be shared, as the users of one browser: give it the user's id. The first hook of a session decides.
   */
  readonly share?: SessionOptions["share"] | undefined;
  /** Whether the messages of before are loaded, and a run that goes on is followed. Default true. */
  readonly loadHistory?: boolean | undefined;
  /** Called for each step of a longer operation, as it arrives. */
  readonly onProgress?: ((percent: number, message: string) => void) | undefined;
  /** Called when a run has failed, or its connection is given up. */
  readonly onError?: ((error: AgentError) => void) | undefined;
}

/** What {@link useAgentStream} returns. The functions stay the same between renders. */
export interface AgentStream {
  /** Oldest first. Each stays the same object until something in it changes. */
  readonly messages: readonly AgentMessage[];
  /** What the newest run does. */
  readonly status: RunStatus;
  /** What its connection does, whatever the run does. */
  readonly connectionStatus: ConnectionStatus;
  /** A run goes on. */
  readonly isLoading: boolean;
  /** Why the newest run failed; null when it did not. */
  readonly error: AgentError | null;
  /** Of the newest run. */
  readonly progress: AgentProgress;
  /** The newest run's tool calls. */
  readonly tools: readonly ToolCall[];
  /** Send a message. Resolves when the answer has ended, however: to false where nothing was sent. */
  readonly sendMessage: (content: string) => Promise<boolean>;
  /** Stop the run at the server. The text so far stays. */
  readonly abort: () => void;
  /** Take a lost answer up again, or ask anew for one that failed: the newest, or that of a turn. */
  readonly retry: (turnId?: string) => boolean;
  /** Ask once more what was asked in the newest turn, or in that one. */
  readonly regenerate: (turnId?: string) => boolean;
  /** Load the messages of before once more, where that failed. */
  readonly reload: () => void;
  /** All that the store knows, for what has no place above. */
  readonly snapshot: SessionSnapshot;
}

const NO_PROGRESS: AgentProgress = { percent: 0, message: "" };
const NO_TOOLS: readonly ToolCall[] = [];

/**
 * Return a conversation with an agent, live.
 *
 * The messages of before are loaded, and a run that goes on is followed: after a reload, in a second tab, in a
 * component that is mounted later. Unmounting detaches and stops no run; {@link AgentStream.abort} does.
 */
export function useAgentStream(options: UseAgentStreamOptions): AgentStream {
  const { sessionId, agent, onDisconnect, pacing, share, loadHistory = true, onProgress, onError } = options;
  const contextClient = useContext(AgentClientContext);
  const client = options.client ?? contextClient;
  const attachment = useMemo(
    () =>
      new Attachment(client, { sessionId, ...present({ agent, onDisconnect, pacing, share }) }, loadHistory),
    // The first pacing and onDisconnect count, and a pacing that is written in place is a new object in each render.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [client, sessionId, agent, share, loadHistory],
  );
  const snapshot = useSyncExternalStore(
    attachment.subscribe,
    attachment.getSnapshot,
    attachment.getServerSnapshot,
  );
  useEffect(() => listenFor(attachment, onProgress, onError), [attachment, onProgress, onError]);

  const sendMessage = useCallback(
    async (content: string) => {
      const turnId = attachment.session?.send(content, agent === undefined ? {} : { agent });
      if (turnId === undefined) return false;
      await attachment.ended(turnId);
      return true;
    },
    [attachment, agent],
  );
  const actions = useMemo(
    () => ({
      abort: () => attachment.session?.stop(),
      retry: (turnId?: string) => attachment.session?.retry(turnId) ?? false,
      regenerate: (turnId?: string) => attachment.session?.regenerate(turnId) !== undefined,
      reload: () => void attachment.session?.load(),
    }),
    [attachment],
  );
  const messages = useMemo(() => messagesOf(snapshot.turns), [snapshot.turns]);
  const run = snapshot.turns.at(-1)?.run;
  return {
    messages,
    status: snapshot.status,
    connectionStatus: snapshot.connection,
    isLoading: snapshot.running,
    error: run?.outcome?.kind === "failed" ? errorOf(run.outcome.failure) : null,
    progress: progressOf(run?.progress),
    tools: run?.tools ?? NO_TOOLS,
    sendMessage,
    ...actions,
    snapshot,
  };
}

const PROGRESS = new WeakMap<Progress, AgentProgress>();

function progressOf(event: Progress | undefined): AgentProgress {
  if (event === undefined) return NO_PROGRESS;
  const progress = PROGRESS.get(event) ?? { percent: event.percent ?? 0, message: event.message };
  PROGRESS.set(event, progress);
  return progress;
}

/** Return the options that are given, as the store wants them. */
function present({
  agent,
  onDisconnect,
  pacing,
  share,
}: Omit<UseAgentStreamOptions, "sessionId">): Partial<SessionOptions> {
  return {
    ...(agent === undefined ? {} : { agent }),
    ...(onDisconnect === undefined ? {} : { onDisconnect }),
    ...(pacing === undefined ? {} : { pacing }),
    ...(share === undefined ? {} : { share }),
  };
}

function listenFor(
  attachment: Attachment,
  onProgress: UseAgentStreamOptions["onProgress"],
  onError: UseAgentStreamOptions["onError"],
): () => void {
  let percent = 0;
  return attachment.listen((signal, { run }) => {
    const event = signal.kind === "event" ? signal.event : undefined;
    if (event?.type === "run_started") percent = 0;
    if (event?.type === "progress") {
      percent = event.percent ?? percent;
      onProgress?.(percent, event.message);
    }
    const failed = signal.kind === "failed" || event?.type === "error";
    if (failed && run.outcome?.kind === "failed") onError?.(errorOf(run.outcome.failure));
  });
}
