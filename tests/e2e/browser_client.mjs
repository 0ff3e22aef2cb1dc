/**
 * The browser's own client (web/packages/client) under Node, in one scene with a real edge.
 *
 *   node browser_client.mjs '{"scene", "url", "agent", …}'
 *
 * Prints one line: what the scene returns, as JSON.
 */
import { fileURLToPath } from "node:url";

const web = new URL("../../web/", import.meta.url);
const { runnerImport } = await import(
  new URL("node_modules/vite/dist/node/index.js", web).href
);
const load = async (name) =>
  (
    await runnerImport(
      fileURLToPath(new URL(`packages/client/src/${name}.ts`, web)),
    )
  ).module;
const { createClient } = await load("index");
const { createSession } = await load("session");
const {
  scene,
  url,
  agent,
  message = "hi",
  ...order
} = JSON.parse(process.argv[2]);

const requests = [];
let beforeRequest = () => undefined;

/** Return a client whose requests are noted, and may be changed on their way. */
function newClient(options = {}) {
  return createClient({
    baseUrl: `${url}/api`,
    fetch: async (target, init) => {
      const headers = new Headers(init.headers);
      requests.push({
        method: init.method ?? "GET",
        path: new URL(target).pathname,
        key: headers.get("idempotency-key"),
      });
      return fetch(target, {
        ...init,
        headers,
        ...(beforeRequest(headers) ?? {}),
      });
    },
    ...options,
  });
}

const textOf = (run) => run.text;
const request = (sessionId) => ({ message, sessionId, agent });

/** Return when a run shows any text. */
const speaks = (run) => new Promise((resolve) => run.on("text_delta", resolve));

const SCENES = {
  /** The POST's answer is cut within its head: nobody here knows whether there is a run. */
  async cutPost() {
    let first = true;
    beforeRequest = (headers) => {
      if (first) headers.set("X-Cut", "10");
      first = false;
    };
    const client = newClient();
    const run = client.startRun(request("cut"));
    const { outcome } = await run.finished;
    const { runs } = await client.listRuns("cut");
    return { text: textOf(run), outcome, runs: runs.length, requests };
  },

  /** Two clients say something in one session. */
  async busy() {
    const first = newClient().startRun(request("busy"));
    await speaks(first);
    const second = newClient().startRun({
      ...request("busy"),
      message: `${message} `,
    });
    await Promise.all([first.finished, second.finished]);
    const { runs } = await newClient().listRuns("busy");
    return {
      texts: [textOf(first), textOf(second)],
      joined: second.state.joined,
      runs: runs.length,
    };
  },

  /** Stop, with the run's stream open. */
  async stop() {
    const aborting = new AbortController();
    const run = newClient().startRun(request("stop"), {
      signal: aborting.signal,
    });
    await speaks(run);
    const before = textOf(run);
    aborting.abort();
    const { status, connection, outcome } = await run.finished;
    return { before, text: textOf(run), status, connection, outcome, requests };
  },

  /** Leave an iteration early, then follow the same run from where it was left. */
  async leave() {
    const client = newClient();
    const run = client.startRun(request("leave"));
    let text = "";
    for await (const event of run) {
      if (event.type !== "text_delta") continue;
      text += event.content;
      break;
    }
    const { state } = await client.getRun(run.runId);
    for await (const event of client.followRun(run.runId, {
      after: run.cursor,
    })) {
      if (event.type === "text_delta") text += event.content;
    }
    return {
      text,
      state,
      cancels: requests.filter(({ path }) => path.endsWith("/cancel")).length,
    };
  },

  /** The token in the headers is stale: the function is asked again. */
  async freshToken() {
    const asked = [];
    const headers = ({ refused }) => {
      asked.push(refused);
      return { Authorization: `Bearer ${refused ? order.key : "stale"}` };
    };
    const run = newClient({ headers }).startRun(request("token"));
    const { status } = await run.finished;
    return { status, asked, text: textOf(run) };
  },

  /** A page is loaded again in the middle of an answer. */
  async reload() {
    const said = [];
    const open = () =>
      createSession(newClient(), {
        sessionId: "reload",
        agent,
        pacing: "immediate",
      });
    const until = (session, done) =>
      new Promise((resolve) => {
        const look = () => done(session.getSnapshot()) && resolve();
        session.subscribe(look);
        look();
      });
    const shown = ({ turns }) =>
      turns.map((turn) => ({
        message: turn.message,
        text: turn.run.segments.join(""),
        status: turn.run.status,
      }));
    const before = open();
    before.send(message);
    await until(before, ({ status }) => status === "done");
    before.send(`${message} `);
    await until(
      before,
      ({ status, turns }) => turns.length === 2 && status === "streaming",
    );
    said.push(shown(before.getSnapshot()));
    before.close();
    const after = open();
    await after.load();
    await until(after, ({ status }) => status === "done");
    const turns = shown(after.getSnapshot());
    after.close();
    return { turns, runs: (await newClient().listRuns("reload")).runs.length };
  },
};

const result = await SCENES[scene]();
// Nothing of a client may keep the process: it has to end by itself once this is written.
process.stdout.write(JSON.stringify(result));
