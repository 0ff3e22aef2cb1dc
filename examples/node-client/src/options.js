// The command line.

import { parseArgs } from "node:util";
import { cursorOf } from "./events.js";
import { credentials, principalKey, signing } from "./security.js";

export const USAGE = `Usage: node main.js [options] MESSAGE
       node main.js [options] --run RUN_ID [--after ID]

  --core HOST:PORT,... the core (TOKENWIRE_CORE)          [127.0.0.1:50051]
                       or several that share a store: tried in turn
  --agent NAME         the agent                          [the core's default]
  --session ID         the conversation
  --deadline SECONDS   the call's deadline, which is the run's too
  --cancel-after N     stop the run after N text deltas
  --run RUN_ID         follow a run instead of starting one
  --after ID           ... after this event: RUN_ID.EPOCH.SEQUENCE, or a sequence
  --patience SECONDS   how long to go on trying without contact to a core  [10]
  --json               one line of JSON an event

  --tls-ca FILE        authorities that vouch for the core         [Node's own]
  --tls-cert FILE      our certificate, where the core wants one (mTLS)
  --tls-key FILE       ... and its key; any of the three turns TLS on
  --principal NAME     on whose behalf we call
  --principal-key FILE what proves it: the core's TOKENWIRE_PRINCIPAL_KEY [that variable]

Ctrl-C stops the run; a second one leaves at once.

Exit status: 0 done, 1 the run failed or was refused, 2 wrong usage, 3 no core, 4 the stream was lost, 130 stopped.`;

/**
 * Reads the command line.
 *
 * @throws {Error} It is no such line; the text is for the user.
 */
export function readArguments(args = process.argv.slice(2)) {
  const string = { type: "string" };
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      core: { ...string, multiple: true, default: [process.env.TOKENWIRE_CORE || "127.0.0.1:50051"] },
      agent: { ...string, default: "" },
      session: { ...string, default: "" },
      deadline: string,
      "cancel-after": string,
      patience: { ...string, default: "10" },
      run: string,
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
  if ((positionals.length === 1) === (values.run !== undefined)) {
    throw new TypeError("give either one MESSAGE or --run");
  }
  for (const name of ["deadline", "patience", "cancel-after"]) {
    if (values[name] !== undefined && !(Number(values[name]) > 0)) throw new TypeError(`--${name} wants a number`);
  }
  const cores = values.core.flatMap((addresses) => addresses.split(",")).map((address) => address.trim());
  if (cores.includes("")) throw new TypeError("--core has an empty address");
  const key = principalKey(values["principal-key"]);
  if ((values.principal !== undefined || values["principal-key"] !== undefined) && !(values.principal && key)) {
    throw new TypeError("--principal needs a key, and --principal-key a principal");
  }
  return {
    ...values,
    message: positionals[0],
    cores,
    credentials: credentials({ ca: values["tls-ca"], cert: values["tls-cert"], key: values["tls-key"] }),
    interceptors: values.principal ? [signing(values.principal, key)] : [],
    patienceMs: Number(values.patience) * 1000,
    deadlineMs: values.deadline === undefined ? undefined : Date.now() + Number(values.deadline) * 1000,
    cancelAfter: Number(values["cancel-after"] ?? Number.POSITIVE_INFINITY),
    after: values.after === undefined ? undefined : cursorOf(values.after),
  };
}
