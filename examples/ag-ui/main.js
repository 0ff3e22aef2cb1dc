// node main.js "List three fruits." [agent]
import process from "node:process";
import { ResumingAgent } from "./resuming-agent.js";

const [question = "List three fruits.", name] = process.argv.slice(2);
const url = `${process.env.TOKENWIRE_URL ?? "http://127.0.0.1:8000"}/api/ag-ui`;
const agent = new ResumingAgent({ url, agent: name, threadId: crypto.randomUUID() });
agent.messages = [{ id: crypto.randomUUID(), role: "user", content: question }];
await agent.runAgent(
  {},
  {
    onTextMessageContentEvent: ({ event }) => void process.stdout.write(event.delta),
    onRunErrorEvent: ({ event }) => {
      console.error(`${event.code}: ${event.message}`);
      process.exitCode = 1;
    },
  },
);
process.stdout.write("\n");
