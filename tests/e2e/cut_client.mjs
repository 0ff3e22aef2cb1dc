/**
 * The browser's own client (web/packages/client) under Node, its first response cut after so many bytes.
 *
 *   node cut_client.mjs '{"url", "runId"?, "request", "cuts": [0, 1, …], "atOnce"}'
 *
 * With `runId` that recorded run is followed, else the request is really asked. Prints one line:
 * `{"stories": […], "trials": [{cut, story, before, failure}]}`, where a story is the run's events with
 * neighbouring deltas as one, and `before` counts the events that came before the cut.
 */
import { fileURLToPath } from "node:url";

const web = new URL("../../web/", import.meta.url);
const { runnerImport } = await import(new URL("node_modules/vite/dist/node/index.js", web).href);
const { module: library } = await runnerImport(fileURLToPath(new URL("packages/client/src/index.ts", web)));
const order = JSON.parse(process.argv[2]);

/** Return a fetch whose first request carries the cut. */
function cuttingFetch(cut) {
  let first = true;
  return (url, init) => {
    const headers = new Headers(init.headers);
    if (first && cut !== null) headers.set("X-Cut", String(cut));
    first = false;
    return fetch(url, { ...init, headers });
  };
}

/** Return the events without what differs from one reading to another. */
function storyOf(events) {
  const story = [];
  for (const { timestamp, tokens, from, ...event } of events) {
    const last = story.at(-1);
    const isDelta = event.type === "text_delta" || event.type === "reasoning_delta";
    if (isDelta && last?.type === event.type) last.content += event.content;
    else story.push({ ...event });
  }
  return story;
}

async function attempt(cut) {
  const events = [];
  let before;
  let failure = null;
  const onSignal = (signal) => {
    if (signal.kind === "event") events.push(signal.event);
    if (signal.kind === "reconnecting") before ??= events.length;
    if (signal.kind === "failed") failure = signal.failure.code;
    if (signal.kind === "gap") failure = "GAP";
  };
  const client = library.createClient({
    baseUrl: `${order.url}/api`,
    fetch: cuttingFetch(cut),
    retry: { firstMs: 1, capMs: 1 },
  });
  const request = { ...order.request, sessionId: `cut-${cut}` };
  const run = order.runId ? client.followRun(order.runId, { onSignal }) : client.startRun(request, { onSignal });
  await run.finished;
  return { cut, story: JSON.stringify(storyOf(events)), before: before ?? events.length, failure };
}

const waiting = [...order.cuts];
const trials = [];
async function work() {
  while (waiting.length > 0) trials.push(await attempt(waiting.shift()));
}
await Promise.all(Array.from({ length: order.atOnce }, work));
const stories = [...new Set(trials.map((trial) => trial.story))];
const report = {
  stories: stories.map((story) => JSON.parse(story)),
  trials: trials.map((trial) => ({ ...trial, story: stories.indexOf(trial.story) })),
};
// A pipe takes 64 KiB at a time: leave when it has taken all.
process.stdout.write(JSON.stringify(report), () => process.exit(0));
