#!/usr/bin/env node
// Asks an agent, or follows a run, straight at the core: no edge, no browser, no HTTP.

import { randomUUID } from "node:crypto";
import { Cores } from "./src/cores.js";
import { idOf, jsonLine, payloadOf } from "./src/events.js";
import { readArguments, USAGE } from "./src/options.js";
import { Reader } from "./src/reader.js";
import { isFinal } from "./src/retry.js";
import { describeFailure } from "./src/status.js";

const EXIT = { DONE: 0, FAILED: 1, USAGE: 2, UNREACHABLE: 3, LOST: 4, STOPPED: 130, PIPE: 141 };

const say = (line) => process.stderr.write(`${line}\n`);

/** How an event looks to a person: the answer on stdout, the rest on stderr. */
const SHOW = {
  text_delta: ({ content }) => process.stdout.write(content),
  progress: (progress) => say(`[${progress._percent ? `${progress.percent}%` : "..."}] ${progress.message}`),
  tool_start: ({ tool, argsJson }) => say(`-> ${tool} ${argsJson}`),
  tool_result: ({ tool, resultJson, isError }) => say(`${isError ? "failed" : "<-"} ${tool} ${resultJson}`),
  input_requested: ({ inputId, prompt }) => say(`? ${prompt} (waiting: answer with SendInput, input_id ${inputId})`),
  done: () => process.stdout.write("\n"),
  error: ({ code, message }) => say(`${code}: ${message}`),
};

/** Returns what shows events: as one line of JSON each, or to a person. */
function shower(json) {
  return (runId, event) => {
    const payload = payloadOf(event);
    if (payload === null) return; // newer than this client: no error
    if (json) process.stdout.write(`${jsonLine(runId, event)}\n`);
    else SHOW[payload.type]?.(payload.fields);
  };
}

/**
 * Returns the run to start. Its request id names the same run however often the start is sent; a connection that broke
 * is mended by following, so that only CancelRun stops it at once.
 */
function specOf({ message, agent, session }) {
  return { message, agent, sessionId: session, requestId: randomUUID(), onDisconnect: "ON_DISCONNECT_GRACE" };
}

/** The first Ctrl-C stops the run, the second leaves it. Returns a function that tells whether there was one. */
function stopOnSignal(reader) {
  let stopped = false;
  const stop = async () => {
    if (stopped) return reader.leave();
    stopped = true;
    say("stopping the run (again to leave at once)");
    try {
      await reader.cancel();
    } catch (error) {
      if (!reader.isLeft) say(`the run could not be stopped: ${error.message}`);
      reader.leave();
    }
  };
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, stop);
  return () => stopped;
}

function conclude({ outcome, runId, resumeAt }, failure, { run }) {
  if (failure === null) return outcome === "done" ? EXIT.DONE : EXIT.FAILED;
  say(describeFailure(failure));
  // The deadline of a call that starts a run is the run's too: there is nothing to go on with.
  if (failure.code === "DEADLINE_EXCEEDED" && run === undefined) return EXIT.FAILED;
  if (failure.own && isFinal(failure)) return EXIT.FAILED; // the core itself refused, and would again
  if (runId && resumeAt) {
    say(`the stream ended before the run; go on with: --run ${runId} --after ${idOf(runId, resumeAt)}`);
    return EXIT.LOST;
  }
  return failure.code === "UNAVAILABLE" ? EXIT.UNREACHABLE : EXIT.FAILED;
}

/** Reads a run to its end, and resolves to the exit status. */
async function ask(given, cores) {
  const { run, after, deadlineMs, patienceMs, cancelAfter } = given;
  const what = run === undefined ? { spec: specOf(given) } : { runId: run, after };
  const show = shower(given.json);
  const reader = new Reader(cores, { ...what, deadlineMs, patienceMs, cancelAfter, show, say });
  const isStopped = stopOnSignal(reader);
  // Whoever read the answer has left, as `head` does: nobody wants the run.
  process.stdout.on("error", async () => {
    await reader.cancel().catch((error) => say(`the run could not be stopped: ${error.message}`));
    process.exit(EXIT.PIPE);
  });
  try {
    const failure = await reader.read();
    return isStopped() ? EXIT.STOPPED : conclude(reader.at, failure, given);
  } finally {
    reader.leave();
  }
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
  const cores = new Cores(given.cores, given.credentials, given.interceptors);
  try {
    return await ask(given, cores);
  } finally {
    cores.close();
  }
}

process.exitCode = await main();
