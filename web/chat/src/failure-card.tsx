import type { Failure } from "@tokenwire/client";
import { AlertIcon } from "./icons.tsx";

interface FailureCardProps {
  readonly failure: Failure;
  /** False while another run goes on. */
  readonly canRetry: boolean;
  readonly onRetry: () => void;
}

export function FailureCard({ failure, canRetry, onRetry }: FailureCardProps) {
  return (
    <div className="failure" data-testid="error" role="alert">
      <AlertIcon />
      <p>{failure.message}</p>
      <code>{failure.code}</code>
      {failure.retryable ? (
        <button type="button" data-testid="retry" disabled={!canRetry} onClick={onRetry}>
          {failure.resumable ? "Reconnect" : "Try again"}
        </button>
      ) : null}
    </div>
  );
}
