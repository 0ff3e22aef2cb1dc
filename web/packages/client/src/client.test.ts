import { expect, it } from "vitest";
import { createClient, TokenwireClient } from "./client.ts";
import { RequestFailed } from "./failure.ts";
import { ScriptedBrowser } from "./scripted-server.ts";

/** A client whose server answers all with one thing; and what it was asked. */
function stage(answer: () => Response | Promise<Response>, options: object = {}) {
  const urls: string[] = [];
  const fetch = async (url: string | URL | Request) => {
    urls.push(url as string);
    return answer();
  };
  return { client: new TokenwireClient({ fetch, ...options }, new ScriptedBrowser()), urls };
}

const RUN = {
  runId: "r1",
  sessionId: "s",
  agent: "pace",
  state: "ended",
  onDisconnect: "grace",
  first: "r1.1.1",
  last: "r1.1.9",
  terminal: { event: "done", reason: "stop" },
  createTime: "2026-11-28T07:00:00.000+00:00",
  endTime: null,
  expireTime: null,
};

it("reads what the server knows of a run", async () => {
  const { client, urls } = stage(() => Response.json(RUN));
  expect(await client.getRun("r1")).toEqual(RUN);
  expect(await client.cancelRun("r1")).toEqual(RUN);
  expect(urls).toEqual(["/api/runs/r1", "/api/runs/r1/cancel"]);
});

it("reads pages of runs and of turns", async () => {
  const runs = stage(() => Response.json({ runs: [RUN], nextPageToken: "1.a" }));
  expect(await runs.client.listRuns("a b", { pageSize: 5, pageToken: "0.b" })).toEqual({
    runs: [RUN],
    nextPageToken: "1.a",
  });
  expect(runs.urls).toEqual(["/api/sessions/a%20b/runs?pageSize=5&pageToken=0.b"]);

  const turns = stage(() => Response.json({ turns: [{ runId: "r1", message: "Hi", state: "running" }] }));
  const page = await turns.client.transcript("s");
  expect(page).toMatchObject({ turns: [{ runId: "r1", message: "Hi", text: null }], nextPageToken: "" });
  expect(turns.urls).toEqual(["/api/sessions/s/transcript"]);
});

it("has one base for all routes, and paths of one's own", async () => {
  const options = { baseUrl: "https://shop.example/api/agent/", endpoints: { start: "/stream" } };
  const { client, urls } = stage(() => Response.json(RUN), options);
  await client.getRun("r1");
  const run = client.startRun({ message: "a", sessionId: "s" });
  await run.finished;
  expect(urls).toEqual(["https://shop.example/api/agent/runs/r1", "https://shop.example/api/agent/stream"]);
});

it("rejects with what the server says, and with words of its own when it says nothing", async () => {
  const problem = { code: "NOT_FOUND", detail: "There is no such run.", retryable: false };
  const refused = stage(() => Response.json(problem, { status: 404 }));
  await expect(refused.client.getRun("r1")).rejects.toMatchObject({
    name: "RequestFailed",
    status: 404,
    failure: { code: "NOT_FOUND", message: "There is no such run." },
  });
  const away = stage(() => Promise.reject(new TypeError("fetch failed")));
  await expect(away.client.getRun("r1")).rejects.toThrow(RequestFailed);
  const odd = stage(() => new Response("<!doctype html>"));
  await expect(odd.client.getRun("r1")).rejects.toMatchObject({ failure: { code: "INTERNAL" } });
  const wrong = stage(() => Response.json([]));
  await expect(wrong.client.listRuns("s")).rejects.toMatchObject({ failure: { code: "INTERNAL" } });
});

it("gives a request up when its signal aborts", async () => {
  const aborting = new AbortController();
  const fetch = (_: unknown, init?: RequestInit) =>
    new Promise<Response>((_resolve, reject) => {
      init?.signal?.addEventListener("abort", () => reject(new DOMException("Aborted.", "AbortError")));
    });
  const client = new TokenwireClient({ fetch }, new ScriptedBrowser());
  const asking = client.getRun("r1", { signal: aborting.signal });
  aborting.abort();
  await expect(asking).rejects.toThrow("aborted");
});

it("wants a whole URL outside of a browser, with the first request and not after a minute of attempts", async () => {
  const client = createClient(); // by itself no fault: modules with one are loaded on servers too
  await expect(client.getRun("r1")).rejects.toThrow("baseUrl must be a whole URL");
  const run = client.startRun({ message: "Hi", sessionId: "s" });
  expect(await run.finished).toMatchObject({ status: "failed" });
  client.close();
});
