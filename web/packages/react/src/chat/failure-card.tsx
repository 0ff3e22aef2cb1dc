import type { Failure } from "@tokenwire/client";
import { AlertIcon } from "./icons.tsx";

interface FailureCardProps {
  readonly failure: Failure;
  /** False while another run goes on. */
  readonly canRetry: boolean;
  readonly onRetry: () => void;
}

/** Why there is no answer, and the way on where there is one. */
export function FailureCard({ failure, canRetry, onRetry }: FailureCardProps) {
  return (
    <div className="tw-failure" data-testid="error" role="alert">
      <AlertIcon />
      <p>{failure.message}</p>
      <code>{failure.code}</code>
      {failure.retryable ? (
        <button
          type="button"
          className="tw-failure-act"
          data-testid="retry"
          disabled={!canRetry}
          onClick={onRetry}
        >
          Try again
        </button>
      ) : null}
    </div>
  );
}
