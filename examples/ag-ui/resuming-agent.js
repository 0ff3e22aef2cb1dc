import { HttpAgent, runHttpRequest, transformHttpEventStream } from "@ag-ui/client";

const RETRY_MS = 1000;
const END = /"type":"RUN_(FINISHED|ERROR)"/;

/** An HttpAgent whose runs go on after a broken connection, and that can join a run which goes on. */
export class ResumingAgent extends HttpAgent {
  /** @param config As for HttpAgent; `url` without a query. `agent` selects the edge's agent. */
  constructor({ agent, fetch: request = (...args) => fetch(...args), ...config }) {
    super({ ...config, fetch: (_, init) => this.#start(init) });
    this.startUrl = agent ? `${config.url}?agent=${encodeURIComponent(agent)}` : config.url;
    this.request = request;
  }

  /** The edge's id of the run that `connectAgent()` joins: the header `Run-Id` of its start. */
  runToJoin = "";

  connect(input) {
    const follow = (after) => this.#follow(this.runToJoin, input.runId, after, {});
    return transformHttpEventStream(runHttpRequest(async () => continued(await follow(""), follow)));
  }

  async #start(init) {
    const response = await this.request(this.startUrl, init);
    this.runToJoin = response.headers.get("run-id") ?? "";
    if (!response.ok || !this.runToJoin) return response;
    const { runId } = JSON.parse(init.body);
    const { headers, signal } = init;
    return continued(response, (after) => this.#follow(this.runToJoin, runId, after, { headers, signal }), signal);
  }

  #follow(run, runId, after, init) {
    const query = new URLSearchParams({ runId, after });
    return this.request(`${this.url}/runs/${run}?${query}`, init);
  }
}

/** Returns a response whose body goes on where a connection broke: after the last whole frame. */
function continued(first, follow, signal) {
  if (!first.ok) return first;
  const iterator = frames(first, follow, signal);
  const body = new ReadableStream({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => iterator.return(),
  });
  return new Response(body.pipeThrough(new TextEncoderStream()), {
    headers: { "content-type": "text/event-stream" },
  });
}

async function* frames(response, follow, signal) {
  let after = "";
  for (;;) {
    try {
      let text = "";
      for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
        const whole = (text + piece).split("\n\n");
        text = whole.pop();
        for (const frame of whole) {
          yield `${frame}\n\n`;
          if (END.test(frame)) return;
          after = /^id: (.*)$/m.exec(frame)?.[1] ?? after;
        }
      }
    } catch (error) {
      if (signal?.aborted) throw error;
    }
    do {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      response = await follow(after).catch(() => ({ ok: false }));
      if (response.status && response.status !== 200 && response.status < 500) throw new Error(await response.text());
    } while (!response.ok);
  }
}
