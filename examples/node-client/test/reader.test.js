import assert from "node:assert/strict";
import { test } from "node:test";
import grpc from "@grpc/grpc-js";
import { Cores } from "../src/cores.js";
import { Reader } from "../src/reader.js";
import { contract } from "../src/service.js";

const runId = "k7q25wq3c8h1x0v6m9t4z2b7n5r3ya";
const events = (...given) => ({ runId, events: given });
const control = (given) => ({ runId, control: given });
const delta = (sequence) => ({ sequence, epoch: 1, textDelta: { content: `${sequence}` } });
const done = (sequence) => ({ sequence, epoch: 1, done: {} });
const failing = (code) => ({ code, details: "scripted" });
const gone = failing(grpc.status.UNAVAILABLE);

/** A core that plays one leg a call, each its responses and its end, and notes what it was asked. */
async function serve(context, legs, run = { state: "RUN_STATE_RUNNING" }) {
  const core = { started: [], after: [], cancelled: 0 };
  const play = (call) => {
    const { responses = [], error } = legs.shift();
    for (const response of responses) call.write(response);
    if (error) call.emit("error", error);
    else call.end();
  };
  const server = new grpc.Server();
  server.addService(contract().AgentService.service, {
    streamRun(call) {
      core.started.push(call.request.run.requestId);
      play(call);
    },
    followRun(call) {
      core.after.push(Number(call.request.after?.sequence ?? 0));
      play(call);
    },
    getRun: (_, answer) => answer(null, { run }),
    cancelRun(_, answer) {
      core.cancelled += 1;
      answer(null, {});
    },
  });
  const port = await new Promise((bound, failed) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, at) => (error ? failed(error) : bound(at))),
  );
  context.after(() => server.forceShutdown());
  return Object.assign(core, { address: `127.0.0.1:${port}` });
}

/** An address at which nobody listens any more. */
async function nobody() {
  const cleanup = [];
  const { address } = await serve({ after: (end) => cleanup.push(end) }, []);
  for (const end of cleanup) end();
  return address;
}

/** Reads a run; resolves to what was shown, what was said, and how it ended. */
async function read(context, addresses, given = {}) {
  const cores = new Cores(addresses, grpc.credentials.createInsecure());
  context.after(() => cores.close());
  const shown = [];
  const said = [];
  const reader = new Reader(cores, {
    ...(given.runId ? {} : { spec: { message: "x", requestId: "once" } }),
    patienceMs: 20_000,
    show: (_, event) => shown.push(Number(event.sequence)),
    say: (line) => said.push(line),
    ...given,
  });
  const failure = await reader.read();
  return { shown, said, failure, at: reader.at };
}

test("a stream that ends before the run is followed on", async (context) => {
  const core = await serve(context, [
    { responses: [events(delta(1), delta(2))], error: gone },
    { error: gone },
    { error: failing(grpc.status.INTERNAL) },
    { responses: [events(delta(3)), control({ draining: { retryMs: 100 } })] }, // ends with OK, not with the run
    { responses: [events(delta(4), done(5))] },
  ]);
  const { shown, failure } = await read(context, [core.address]);
  assert.deepEqual([shown, failure], [[1, 2, 3, 4, 5], null]);
  assert.deepEqual(core.after, [2, 2, 2, 3]);
});

test("cores are tried in turn", async (context) => {
  const one = await serve(context, [{ responses: [events(delta(1))], error: gone }]);
  const other = await serve(context, [{ responses: [events(delta(2), done(3))] }]);
  const { shown, failure } = await read(context, [await nobody(), one.address, await nobody(), other.address]);
  assert.deepEqual([shown, failure], [[1, 2, 3], null]);
  assert.deepEqual([one.started, other.after], [["once"], [1]]);
});

test("a start that broke is repeated with the same request id", async (context) => {
  const core = await serve(context, [{ error: gone }, { responses: [events(delta(1), done(2))] }]);
  const { shown } = await read(context, [core.address]);
  assert.deepEqual([shown, core.started], [[1, 2], ["once", "once"]]);
});

test("a start that reaches no core ends at once", async (context) => {
  const { failure } = await read(context, [await nobody(), await nobody()], { patienceMs: 3_600_000 });
  assert.equal(failure.code, "UNAVAILABLE");
});

test("what comes twice is shown once, and what is missing is asked for", async (context) => {
  const core = await serve(context, [
    { responses: [events(delta(1), delta(2)), events(delta(2), delta(4))] },
    { responses: [events(delta(2), delta(3)), events(delta(4), done(5))] },
  ]);
  const { shown } = await read(context, [core.address]);
  assert.deepEqual([shown, core.after], [[1, 2, 3, 4, 5], [2]]);
});

test("a resync is said", async (context) => {
  const resync = { first: { epoch: 1, sequence: 7 }, last: { epoch: 1, sequence: 8 }, reason: "trimmed" };
  const core = await serve(context, [
    { responses: [events(delta(1))], error: gone },
    { responses: [control({ resync }), events(delta(7), done(8))] },
  ]);
  const { shown, said } = await read(context, [core.address]);
  assert.deepEqual(shown, [1, 7, 8]);
  assert.match(said[1], /^resync \(trimmed\): the log has events 7 to 8/);
});

test("a refusal is not asked for again", async (context) => {
  const core = await serve(context, [
    { responses: [events(delta(1))], error: gone },
    { error: failing(grpc.status.DATA_LOSS) },
  ]);
  const { shown, failure } = await read(context, [core.address]);
  assert.deepEqual([shown, failure.code, core.after.length], [[1], "DATA_LOSS", 1]);
});

test("without contact it gives up, and knows where it was", async (context) => {
  const legs = Array.from({ length: 50 }, () => ({ error: gone }));
  const core = await serve(context, [{ responses: [events(delta(1))], error: gone }, ...legs]);
  const { failure, at } = await read(context, [core.address], { patienceMs: 500 });
  assert.deepEqual([failure.code, at.resumeAt], ["UNAVAILABLE", { epoch: 1, sequence: "1" }]);
});

test("nothing is left after the last event: the run's state tells its end", async (context) => {
  const last = { epoch: 1, sequence: 9 };
  const core = await serve(context, [{}], { state: "RUN_STATE_ENDED", last, outcome: { event: "error" } });
  const { failure, at } = await read(context, [core.address], { runId, after: { epoch: 1, sequence: "9" } });
  assert.deepEqual([failure, at.outcome], [null, "error"]);
});

test("a run is cancelled once", async (context) => {
  const core = await serve(context, [{ responses: [events(delta(1), delta(2), delta(3), done(4))] }]);
  const { shown } = await read(context, [core.address], { cancelAfter: 2 });
  assert.deepEqual([shown.length, core.cancelled], [4, 1]);
});
