import { type ComponentType, memo, useEffect, useState } from "react";
import { CloseIcon } from "../icons.tsx";
import type { LatencyPanelProps } from "./latency-panel.tsx";

type Loaded = { readonly Panel: ComponentType<LatencyPanelProps> } | "failed" | undefined;

interface LatencySideProps extends LatencyPanelProps {
  readonly onClose: () => void;
}

/** The side panel. What it draws with is loaded when it is opened first: a chat does not need it. */
export const LatencySide = memo(function LatencySide({ onClose, ...props }: LatencySideProps) {
  const [loaded, setLoaded] = useState<Loaded>();
  useEffect(() => {
    import("./latency-panel.tsx").then(
      ({ LatencyPanel }) => {
        setLoaded({ Panel: LatencyPanel });
      },
      () => {
        setLoaded("failed");
      },
    );
  }, []);
  return (
    <aside className="side" aria-label="Latency" data-testid="latency-panel">
      <div className="side-head">
        <h2>Latency</h2>
        <button type="button" className="tool" aria-label="Close the latency panel" onClick={onClose}>
          <CloseIcon />
        </button>
      </div>
      {loaded === "failed" ? (
        <p role="alert">The panel could not be loaded. Reload the page.</p>
      ) : loaded === undefined ? (
        <p role="status">Loading…</p>
      ) : (
        <loaded.Panel {...props} />
      )}
    </aside>
  );
});
