import type { Client } from "@tokenwire/client";
import { retainSession } from "@tokenwire/client/session";
import {
  type HopTimes,
  LATENCY_HOPS,
  type LatencyHop,
  type LatencySummary,
  sendTimingReport,
  type TokenStall,
} from "@tokenwire/client/timing";
import { useEffect, useState, useSyncExternalStore } from "react";
import { formatMs, formatRate } from "./format.ts";
import { LatencyChart } from "./latency-chart.tsx";
import type { LatencySwitch } from "./latency-switch.ts";
import { LatencyWatch } from "./latency-watch.ts";
import "./latency.css";

export interface LatencyPanelProps {
  readonly client: Client;
  readonly sessionId: string;
  readonly latency: LatencySwitch;
  /** The headers of a request to the API, as the client's. */
  readonly headers: () => Record<string, string>;
}

/** The latency of the newest answer, live. */
export function LatencyPanel({ client, sessionId, latency, headers }: LatencyPanelProps) {
  const [watch] = useState(
    () =>
      new LatencyWatch({
        reports: () => latency.getChoice().reports,
        send: (runId, report) => sendTimingReport(runId, report, { headers: headers() }),
      }),
  );
  useEffect(() => {
    const { session, release } = retainSession(client, { sessionId });
    const stop = session.listen(watch.hear);
    return () => {
      stop();
      release();
    };
  }, [client, sessionId, watch]);
  const snapshot = useSyncExternalStore(watch.subscribe, watch.getSnapshot);
  const { reports } = useSyncExternalStore(latency.subscribe, latency.getChoice);
  const { summary, rows, reported } = snapshot;
  return (
    <>
      {summary === undefined || summary.tokens === 0 ? (
        <p className="latency-note">{emptyText(summary)}</p>
      ) : (
        <Figures summary={summary} />
      )}
      <LatencyChart rows={rows} version={snapshot} />
      <Hops hops={summary?.hops} />
      {summary === undefined || summary.stalls.length === 0 ? null : <Stalls stalls={summary.stalls} />}
      <label className="latency-report">
        <input
          type="checkbox"
          role="switch"
          data-testid="latency-report"
          checked={reports}
          onChange={({ target }) => {
            latency.choose({ reports: target.checked });
          }}
        />
        Report when tokens arrived here
      </label>
      <p className="latency-note" role="status" data-testid="latency-reported">
        {reported === "" ? "The report completes the answer’s trace and the server’s metrics." : reported}
      </p>
    </>
  );
}

function emptyText(summary: LatencySummary | undefined): string {
  if (summary !== undefined && summary.unstamped > 0) {
    return "This answer was asked for without stamps. The next one has them.";
  }
  if (summary !== undefined && summary.replayed > 0) {
    return `${summary.replayed} tokens came from the log. Those have no latency.`;
  }
  return "Ask something: each token of the answer will be a point here.";
}

function Figures({ summary }: { readonly summary: LatencySummary }) {
  const { firstTokenMs, tokensPerSecond, tokens, gap, stallCount, replayed } = summary;
  const facts = [
    ["First token", formatMs(firstTokenMs)],
    ["Tokens/s", formatRate(tokensPerSecond)],
    ["Tokens", `${tokens}${replayed === 0 ? "" : ` + ${replayed} replayed`}`],
    ["Gap p50", formatMs(gap?.p50)],
    ["Gap p99", formatMs(gap?.p99)],
    ["Longest gap", formatMs(gap?.max)],
    ["Stalls", `${stallCount}`],
  ] as const;
  return (
    <dl className="latency-facts" data-testid="latency-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

const HOP_NAMES: Readonly<Record<LatencyHop, string>> = {
  model: "model",
  log: "run log",
  send: "core",
  link: "core to edge",
  page: "edge to page",
};

function Hops({ hops }: { readonly hops: HopTimes | undefined }) {
  return (
    <table className="latency-hops" data-testid="latency-hops">
      <caption>Time of a token in each hop</caption>
      <thead>
        <tr>
          <th scope="col">Hop</th>
          <th scope="col">p50</th>
          <th scope="col">p99</th>
          <th scope="col">max</th>
        </tr>
      </thead>
      <tbody>
        {LATENCY_HOPS.map((hop) => (
          <tr key={hop}>
            <th scope="row" className={`hop hop-${hop}`}>
              {HOP_NAMES[hop]}
            </th>
            <td>{formatMs(hops?.[hop]?.p50)}</td>
            <td>{formatMs(hops?.[hop]?.p99)}</td>
            <td>{formatMs(hops?.[hop]?.max)}</td>
          </tr>
        ))}
      </tbody>
      <tfoot>
        <tr>
          <td colSpan={4}>“edge to page” counts from its fastest token on.</td>
        </tr>
      </tfoot>
    </table>
  );
}

function Stalls({ stalls }: { readonly stalls: readonly TokenStall[] }) {
  return (
    <>
      <h3 className="latency-title">Stalls</h3>
      <ol className="latency-stalls" data-testid="latency-stalls">
        {stalls.map(({ sequence, hop, gapMs, atMs }) => (
          <li key={sequence}>
            token {sequence}: {formatMs(gapMs)}, <span className={`hop hop-${hop}`}>{HOP_NAMES[hop]}</span>,
            at {formatMs(atMs)}
          </li>
        ))}
      </ol>
    </>
  );
}
