// A bridge in Node: one @grpc/grpc-js call per browser, protobufjs as its decoder, node:http.
//
//     node edge.js PORT CORE PROTO_FOLDER
import http from "node:http";
import path from "node:path";
import grpc from "@grpc/grpc-js";
import protobuf from "protobufjs";

const [port, core, protoFolder] = process.argv.slice(2);
const root = new protobuf.Root();
root.resolvePath = (_, target) =>
  target.startsWith("google/")
    ? path.join(import.meta.dirname, "node_modules", "protobufjs", target)
    : path.join(protoFolder, target);
root.loadSync("tokenwire/v1/agent_service.proto");
const Request = root.lookupType("tokenwire.v1.StreamRunRequest");
const Response = root.lookupType("tokenwire.v1.StreamRunResponse");
const client = new grpc.Client(core, grpc.credentials.createInsecure());

function translate(event) {
  const { seconds, nanos } = event.createTime;
  const timestamp = Number(seconds) * 1000 + Math.floor(nanos / 1e5) / 10;
  if (event.textDelta) return { type: "text_delta", timestamp, content: event.textDelta.content };
  if (event.runStarted) return { type: "run_started", timestamp };
  return event.error ? { type: "error", timestamp, message: event.error.message } : { type: "done", timestamp };
}

function frames({ runId, events }) {
  let out = "";
  for (const event of events) {
    out += `id: ${runId}.${event.epoch}.${event.sequence}\ndata: ${JSON.stringify(translate(event))}\n\n`;
  }
  return out;
}

function stream(run, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" });
  const call = client.makeServerStreamRequest(
    "/tokenwire.v1.AgentService/StreamRun",
    (request) => Buffer.from(Request.encode(Request.fromObject(request)).finish()),
    (bytes) => Response.decode(bytes),
    { run },
  );
  call.on("data", (answer) => response.write(frames(answer)));
  call.on("end", () => response.end());
  call.on("error", () => response.end());
  response.on("close", () => call.cancel());
}

http
  .createServer((request, response) => {
    if (request.method === "GET") {
      response.end();
      return;
    }
    let body = "";
    request.on("data", (piece) => (body += piece));
    request.on("end", () => {
      const { message, sessionId, agent } = JSON.parse(body);
      stream({ message, sessionId, agent }, response);
    });
  })
  .listen(Number(port), "127.0.0.1", 2048);
