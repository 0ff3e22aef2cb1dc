// AG-UI's own client, as npm has it, before an edge: node ag_ui_client.mjs FOLDER, with one JSON document on stdin:
//
//   {"url", "agent", "question", "cuts": [bytes]} → {"plain", "trials", "joined": {events, messages}}
//
// `plain` is the client alone; a trial is the example's ResumingAgent, whose first response is cut.
import process from "node:process";
import { pathToFileURL } from "node:url";

const { ResumingAgent } = await import(pathToFileURL(`${process.argv[2]}/resuming-agent.js`).href);
const HttpAgent = Object.getPrototypeOf(ResumingAgent);

async function ask(agent, question) {
  const events = [];
  agent.messages = [{ id: "u1", role: "user", content: question }];
  const { newMessages } = await agent.runAgent(
    { runId: "r1" },
    { onEvent: ({ event }) => void events.push(event.type) },
  );
  return { events, messages: newMessages };
}

const cutting = (cut, requests) => (address, init) => {
  requests.push(init.method ?? "GET");
  return fetch(address, requests.length > 1 ? init : { ...init, headers: { ...init.headers, "x-cut": String(cut) } });
};

let input = "";
for await (const piece of process.stdin) input += piece;
const { url, agent: name, question, cuts } = JSON.parse(input);
const plainAgent = new HttpAgent({ url: `${url}?agent=${name}`, threadId: `plain-${Date.now()}` });
const plain = await ask(plainAgent, question);
const trials = await Promise.all(
  cuts.map(async (cut) => {
    const requests = [];
    const agent = new ResumingAgent({ url, agent: name, threadId: `t${cut}-${Date.now()}`, fetch: cutting(cut, requests) });
    return { ...(await ask(agent, question)), requests, run: agent.runToJoin, agent };
  }),
);
const first = trials[0];
const joiner = new ResumingAgent({ url, agent: name, threadId: first.agent.threadId });
joiner.runToJoin = first.run;
const events = [];
await joiner.connectAgent({ runId: "r1" }, { onEvent: ({ event }) => void events.push(event.type) });
const joined = { events, messages: joiner.messages };
for (const trial of trials) delete trial.agent;
process.stdout.write(JSON.stringify({ plain, trials, joined }));
