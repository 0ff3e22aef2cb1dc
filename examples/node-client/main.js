#!/usr/bin/env node
// Asks an agent, or follows a run, straight at the core: no edge, no browser, no HTTP.

import { parseArgs } from "node:util";
import { cursorOf, idOf, jsonLine, payloadOf, TERMINAL } from "./src/events.js";
import { credentials, principalKey, signing } from "./src/security.js";
import { connect, responses, unary } from "./src/service.js";
import { describeFailure, readFailure } from "./src/status.js";

const USAGE = `Usage: node main.js [options] MESSAGE
       node main.js [options] --follow RUN_ID [--after ID]

  --core HOST:PORT     the core (TOKENWIRE_CORE)          [127.0.0.1:50051]
  --agent NAME         the agent                          [the core's default]
  --session ID         the conversation
  --deadline SECONDS   the call's deadline, which is the run's too
  --cancel-after N     stop the run after N text deltas
  --follow RUN_ID      follow a run instead of starting one
  --after ID           ... after this event: RUN_ID.EPOCH.SEQUENCE, or a sequence
  --json               one line of JSON an event

  --tls-ca FILE        authorities that vouch for the core         [Node's own]
  --tls-cert FILE      our certificate, where the core wants one (mTLS)
  --tls-key FILE       ... and its key; any of the three turns TLS on
  --principal NAME     on whose behalf we call
  --principal-key FILE what proves it: the core's TOKENWIRE_PRINCIPAL_KEY [that variable]

Exit status: 0 done, 1 the run failed or was refused, 2 wrong usage, 3 no core, 4 the stream was lost.`;

const EXIT = { DONE: 0, FAILED: 1, USAGE: 2, UNREACHABLE: 3, LOST: 4 };

function readArguments() {
  const string = { type: "string" };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      core: { ...string, default: process.env.TOKENWIRE_CORE ?? "127.0.0.1:50051" },
      agent: { ...string, default: "" },
      session: { ...string, default: "" },
      deadline: string,
      "cancel-after": string,
      follow: string,
      after: string,
      json: { type: "boolean", default: false },
      "tls-ca": string,
      "tls-cert": string,
      "tls-key": string,
      principal: string,
      "principal-key": string,
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return { help: true };
  if ((positionals.length === 1) === (values.follow !== undefined)) {
    throw new TypeError("give either one MESSAGE or --follow");
  }
  for (const name of ["deadline", "cancel-after"]) {
    if (values[name] !== undefined && !(Number(values[name]) > 0)) throw new TypeError(`--${name} wants a number`);
  }
  const key = principalKey(values["principal-key"]);
  if ((values.principal !== undefined || values["principal-key"] !== undefined) && !(values.principal && key)) {
    throw new TypeError("--principal needs a key, and --principal-key a principal");
  }
  return {
    ...values,
    message: positionals[0],
    credentials: credentials({ ca: values["tls-ca"], cert: values["tls-cert"], key: values["tls-key"] }),
    interceptors: values.principal ? [signing(values.principal, key)] : [],
    cancelAfter: Number(values["cancel-after"] ?? Number.POSITIVE_INFINITY),
    after: values.after === undefined ? undefined : cursorOf(values.after),
  };
}

function open(client, { message, agent, session, deadline, follow, after }) {
  const options = deadline === undefined ? {} : { deadline: Date.now() + Number(deadline) * 1000 };
  return follow === undefined
    ? client.streamRun({ run: { message, agent, sessionId: session } }, options)
    : client.followRun({ runId: follow, after }, options);
}

const say = (line) => process.stderr.write(`${line}\n`);

/** How an event looks to a person: the answer on stdout, the rest on stderr. */
const SHOW = {
  text_delta: ({ content }) => process.stdout.write(content),
  progress: (progress) => say(`[${progress._percent ? `${progress.percent}%` : "..."}] ${progress.message}`),
  tool_start: ({ tool, argsJson }) => say(`-> ${tool} ${argsJson}`),
  tool_result: ({ tool, resultJson, isError }) => say(`${isError ? "failed" : "<-"} ${tool} ${resultJson}`),
  done: () => process.stdout.write("\n"),
  error: ({ code, message }) => say(`${code}: ${message}`),
};

/** Shows a stream. Returns the terminal event's type (none: the stream was lost) and the last event's id. */
async function show(client, call, { json, cancelAfter }) {
  const seen = { terminal: null, lastId: null, failure: null };
  let deltas = 0;
  try {
    for await (const { runId, events } of responses(call)) {
      for (const event of events) {
        const payload = payloadOf(event);
        if (payload === null) continue; // newer than this client: no error
        if (json) process.stdout.write(`${jsonLine(runId, event)}\n`);
        else SHOW[payload.type]?.(payload.fields);
        seen.lastId = idOf(runId, event);
        if (TERMINAL.has(payload.type)) seen.terminal = payload.type;
        if (payload.type === "text_delta" && ++deltas === cancelAfter) {
          // The stream goes on to its terminal event: done, with the reason "cancelled".
          await unary(client, "cancelRun", { runId, cause: "CANCEL_CAUSE_STOP" });
        }
      }
    }
  } catch (error) {
    if (typeof error.code !== "number") throw error;
    seen.failure = readFailure(error);
  }
  return seen;
}

function conclude({ terminal, lastId, failure }, { follow }) {
  if (terminal) return terminal === "done" ? EXIT.DONE : EXIT.FAILED;
  if (failure) say(describeFailure(failure));
  // The deadline of a call that starts a run is the run's too: there is nothing to go on with.
  if (failure?.code === "DEADLINE_EXCEEDED" && follow === undefined) return EXIT.FAILED;
  if (lastId) {
    const [runId] = lastId.split(".");
    say(`the stream ended before the run; go on with: --follow ${runId} --after ${lastId}`);
    return EXIT.LOST;
  }
  return failure?.code === "UNAVAILABLE" && !failure.own ? EXIT.UNREACHABLE : EXIT.FAILED;
}

async function main() {
  let given;
  try {
    given = readArguments();
  } catch (error) {
    say(`${error.message}\n\n${USAGE}`);
    return EXIT.USAGE;
  }
  if (given.help) {
    process.stdout.write(`${USAGE}\n`);
    return EXIT.DONE;
  }
  const client = connect(given.core, given.credentials, given.interceptors);
  try {
    return conclude(await show(client, open(client, given), given), given);
  } finally {
    client.close();
  }
}

// Whoever read the answer has left, as `head` does. Leaving ends the call, and with it the run.
process.stdout.on("error", () => process.exit(141));
process.exitCode = await main();
