import type { ConnectionStatus, Failure } from "@tokenwire/client";
import type { SessionTurn } from "@tokenwire/client/session";
import type { TurnOptions } from "./chat-options.ts";

interface ConnectionBannerProps {
  readonly turn: SessionTurn | undefined;
  readonly onRetry: () => void;
  readonly describeFailure: TurnOptions["describeFailure"];
}

/** Says what is wrong with the connection for as long as it is, and has the way back once nothing is tried any more. */
export function ConnectionBanner({ turn, onRetry, describeFailure }: ConnectionBannerProps) {
  const text = turn === undefined ? undefined : bannerText(turn, describeFailure);
  const isGivenUp = turn?.run.outcome !== undefined;
  return (
    // Always there: a live region that comes with its text is not read everywhere.
    <div className="tw-banner" role="status" data-testid="connection" data-shown={text !== undefined}>
      {text === undefined ? null : <p>{text}</p>}
      {text !== undefined && isGivenUp ? (
        <button
          type="button"
          data-testid="retry"
          onClick={() => {
            onRetry();
          }}
        >
          Reconnect
        </button>
      ) : null}
    </div>
  );
}

function bannerText(
  { run }: SessionTurn,
  describeFailure: TurnOptions["describeFailure"],
): string | undefined {
  const failure = run.outcome?.kind === "failed" ? run.outcome.failure : undefined;
  if (failure !== undefined && describeFailure?.(failure) !== undefined) return undefined;
  if (failure?.resumable === true) return failure.message;
  if (run.outcome !== undefined) return undefined;
  if (run.stopFailed) return "The answer could not be stopped. Try again.";
  if (run.degraded) return "The server can't save new text at the moment. The answer goes on once it can.";
  return tryingText(run.connection, run.attempt, run.trouble);
}

function tryingText(
  connection: ConnectionStatus,
  attempt: number,
  trouble: Failure | undefined,
): string | undefined {
  if (connection === "disconnected") return "You are offline. The answer goes on once you are back.";
  if (connection !== "reconnecting") return undefined;
  const why = trouble === undefined ? "Connection lost." : trouble.message;
  return attempt > 1 ? `${why} Reconnecting, try ${attempt}.` : `${why} Reconnecting.`;
}
