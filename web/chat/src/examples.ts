const GENERAL: readonly string[] = [
  "List three fruits.",
  "Explain server-sent events in two sentences.",
  "Write a haiku about latency.",
];

/** What the agents that come with Tokenwire are good at, in their own words. */
const BY_AGENT: Readonly<Record<string, readonly string[]>> = {
  portfolio: ["Calculate NAV for all portfolios", "Generate quarterly performance report"],
  pace: ['{"tokens": 200, "size": 5, "rate": 20}'],
};

/** Return messages to begin with that an agent can answer; none for an agent that this page does not know. */
export function examplesFor(agent: string | undefined): readonly string[] {
  return agent === undefined || agent === "assistant" ? GENERAL : (BY_AGENT[agent] ?? []);
}
