/**
 * When the tokens of an answer were where: gaps, hops and stalls from the stamps of a stream with `timing`, and the
 * report of when a page received them.
 *
 * @packageDocumentation
 */
export {
  AnswerLatency,
  type AnswerLatencyOptions,
  type HopTimes,
  type LatencyHop,
  LATENCY_HOPS,
  type LatencySummary,
  type Spread,
  type TokenRow,
  type TokenStall,
} from "./timing/answer-latency.ts";
export {
  ReceivedEvents,
  sendTimingReport,
  type TimingReport,
  type TimingTarget,
} from "./timing/timing-report.ts";
