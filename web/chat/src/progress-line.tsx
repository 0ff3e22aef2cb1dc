import type { Progress } from "@tokenwire/client";
import { useId } from "react";

interface ProgressLineProps {
  readonly progress: Progress;
  readonly running: boolean;
}

export function ProgressLine({ progress, running }: ProgressLineProps) {
  const id = useId();
  const percent = progress.percent === undefined ? undefined : Math.min(100, Math.max(0, progress.percent));
  // A bar without an end makes no sense under an answer that has ended.
  if (!running && percent === undefined) return null;
  return (
    <div className="progress" data-testid="progress">
      <label htmlFor={id}>{progress.message || "Working"}</label>
      {percent === undefined ? null : <span className="percent">{Math.round(percent)} %</span>}
      <progress id={id} max={100} value={percent} />
    </div>
  );
}
