// The AI SDK's own packages, as npm has them, before what the edge writes. One JSON document in, one out:
//
//   {"schema": {name: body}}         → {version: {name: {chunks, message, error}}}
//   {"chat": url, "question": text}  → {version: {nothing, text, types, metadata, resumed, refusal}}
//   {"workflow": url, "question": text, "cuts": [[bytes]]} → [{run, chunks, ended, requests}]
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import process from "node:process";

const installed = createRequire(`${process.argv[2]}/package.json`);
const load = (name) => import(pathToFileURL(installed.resolve(name)).href);
const versions = { 5: await load("ai5"), 6: await load("ai"), 7: await load("ai7") };

const streamOf = (body) => new Blob([body]).stream();
const textOf = (message) => message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");

async function chunksOf(ai, body) {
  const chunks = [];
  const parsed = ai.parseJsonEventStream({ stream: streamOf(body), schema: ai.uiMessageChunkSchema });
  for await (const part of parsed) {
    if (!part.success) throw part.error;
    chunks.push(part.value);
  }
  return chunks;
}

async function messageOf(ai, chunks) {
  let last = null;
  let failure = null;
  const stream = new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
  const onError = (error) => (failure ??= error.message);
  for await (const message of ai.readUIMessageStream({ stream, onError })) last = message;
  return { message: last && { id: last.id, metadata: last.metadata, parts: last.parts }, error: failure };
}

async function schema(bodies) {
  const told = {};
  for (const [version, ai] of Object.entries(versions)) {
    told[version] = {};
    for (const [name, body] of Object.entries(bodies)) {
      const chunks = await chunksOf(ai, body);
      told[version][name] = { chunks, ...(await messageOf(ai, chunks)) };
    }
  }
  return told;
}

async function collect(ai, stream) {
  let last;
  for await (const message of ai.readUIMessageStream({ stream, terminateOnError: true })) last = message;
  return last;
}

async function chat(url, question) {
  const told = {};
  for (const [version, ai] of Object.entries(versions)) {
    const transport = new ai.DefaultChatTransport({ api: url });
    const chatId = `chat-${version}-${Date.now()}`;
    const messages = [{ id: `u${version}`, role: "user", parts: [{ type: "text", text: question }] }];
    const nothing = await transport.reconnectToStream({ chatId });
    const sent = await transport.sendMessages({ chatId, messages, trigger: "submit-message" });
    const message = await collect(ai, sent);
    const again = await collect(ai, await transport.reconnectToStream({ chatId }));
    let refusal = "";
    await transport
      .sendMessages({ chatId, messages: [message], trigger: "submit-message" })
      .catch((error) => (refusal = error.message));
    told[version] = {
      nothing,
      text: textOf(message),
      types: message.parts.map((part) => part.type),
      metadata: message.metadata,
      resumed: JSON.stringify(again) === JSON.stringify(message),
      refusal,
    };
  }
  return told;
}

// One question for each list of cuts: after how many bytes its first, second … response is cut.
async function workflow(url, question, cuts) {
  const { WorkflowChatTransport } = await load("@workflow/ai");
  console.error = () => undefined; // the transport tells of each cut
  return Promise.all(cuts.map((places, number) => trial(WorkflowChatTransport, url, question, places, number)));
}

async function trial(WorkflowChatTransport, url, question, places, number) {
  const requests = [];
  let ended = null;
  let run = "";
  const transport = new WorkflowChatTransport({
    api: url,
    fetch: (address, init) => {
      const cut = places[requests.length];
      requests.push(init.method ?? "GET");
      return fetch(address, { ...init, headers: { ...init.headers, ...(cut && { "x-cut": String(cut) }) } });
    },
    onChatSendMessage: (response) => void (run = response.headers.get("x-workflow-run-id")),
    onChatEnd: (end) => void (ended = end.chunkIndex),
    // By default it sends neither the chat's id nor a content type. A query in `api` it would tear apart.
    prepareSendMessagesRequest: ({ id, messages, trigger }) => ({
      api: `${url}?agent=scripted`,
      headers: { "content-type": "application/json" },
      body: { id, messages, trigger },
    }),
  });
  const messages = [{ id: "u1", role: "user", parts: [{ type: "text", text: question }] }];
  const chatId = `w-${number}-${Date.now()}`;
  const stream = await transport.sendMessages({ chatId, messages, trigger: "submit-message" });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return { run, chunks, ended, requests };
}

let input = "";
for await (const piece of process.stdin) input += piece;
const asked = JSON.parse(input);
const answer = {};
if (asked.schema) answer.schema = await schema(asked.schema);
if (asked.chat) answer.chat = await chat(asked.chat, asked.question);
if (asked.workflow) answer.workflow = await workflow(asked.workflow, asked.question, asked.cuts);
process.stdout.write(JSON.stringify(answer));
