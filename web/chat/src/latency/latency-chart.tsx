import { LATENCY_HOPS, type TokenRow } from "@tokenwire/client/timing";
import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { chartData, LEAST_GAP_MS } from "./chart-data.ts";
import { formatMs } from "./format.ts";

interface LatencyChartProps {
  readonly rows: readonly TokenRow[];
  /** Changes whenever the rows have: they grow in place. */
  readonly version: object;
}

const HEIGHT = 190;
const STALL_MS = 250;

/** The gaps between tokens over time, on a logarithmic scale, in the colour of the hop that is to blame. */
export function LatencyChart({ rows, version }: LatencyChartProps) {
  const frame = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);

  useEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const plot = new uPlot(optionsOf(element), [[]], element);
    chart.current = plot;
    const observer = new ResizeObserver(() => {
      plot.setSize({ width: element.clientWidth, height: HEIGHT });
    });
    observer.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => {
      plot.redraw();
    };
    scheme.addEventListener("change", redraw);
    return () => {
      observer.disconnect();
      scheme.removeEventListener("change", redraw);
      plot.destroy();
    };
  }, []);

  useEffect(() => {
    chart.current?.setData(chartData(rows));
  }, [rows, version]);

  return (
    <div
      className="latency-chart"
      ref={frame}
      role="img"
      aria-label="Gap before each token over time, coloured by the hop that it is due to. The table has the figures."
    />
  );
}

/** Return what the chart looks like; colours are the page's, read whenever it is drawn. */
function optionsOf(element: HTMLElement): uPlot.Options {
  const colour = (name: string) => () => getComputedStyle(element).getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--ink-soft"),
    font: "11px system-ui",
    grid: { stroke: colour("--line"), width: 1 },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: (_, __, most) => [0, Math.max(most, 1)] },
      y: {
        // Logarithmic: the enum exists in the types alone.
        // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment
        distr: 3,
        range: (_, least, most) => [LEAST_GAP_MS, decadeAbove(Math.max(most, STALL_MS, least))],
      },
    },
    axes: [
      { ...axis, size: 30, values: (_, seconds) => seconds.map((second) => `${second} s`) },
      { ...axis, size: 60, splits: decades, values: (_, gaps) => gaps.map(formatMs) },
    ],
    series: [
      {},
      ...LATENCY_HOPS.map((hop) => ({
        label: hop,
        stroke: colour(`--hop-${hop}`),
        paths: () => null,
        points: { show: true, size: 5, width: 0, fill: colour(`--hop-${hop}`) },
      })),
    ],
    hooks: {
      draw: [
        (plot) => {
          drawStallLine(plot, colour("--warn")());
        },
      ],
    },
  };
}

/** Draw the gap from which on it is a stall. */
function drawStallLine(plot: uPlot, colour: string): void {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(STALL_MS, "y", true));
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

function decadeAbove(ms: number): number {
  return 10 ** Math.ceil(Math.log10(ms));
}

function decades(_: uPlot, __: number, least: number, most: number): number[] {
  const [first, last] = [Math.log10(least), Math.log10(most)].map(Math.round) as [number, number];
  return Array.from({ length: last - first + 1 }, (_unused, step) => 10 ** (first + step));
}
