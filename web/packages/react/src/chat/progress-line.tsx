import type { Progress } from "@tokenwire/client";
import { useId } from "react";
import { CheckIcon } from "./icons.tsx";

/** How far a run has come. A bar only while there is something left; nothing once the run has ended. */
export function ProgressLine({ progress }: { readonly progress: Progress }) {
  const id = useId();
  const percent = progress.percent === undefined ? undefined : Math.min(100, Math.max(0, progress.percent));
  const isComplete = percent === 100;
  return (
    <div className="tw-progress" data-testid="progress">
      {isComplete ? <CheckIcon /> : null}
      <span id={id}>{progress.message || "Working"}</span>
      {percent === undefined ? null : <span className="tw-percent">{Math.round(percent)} %</span>}
      {isComplete ? null : <progress aria-labelledby={id} max={100} value={percent} />}
    </div>
  );
}
