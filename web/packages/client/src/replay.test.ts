import { afterEach, describe, expect, it, vi } from "vitest";
import { TokenwireClient } from "./client.ts";
import { ScriptedEdge } from "./scripted-edge.ts";
import { ScriptedBrowser, tries } from "./scripted-server.ts";
import type { Session, SessionOptions } from "./session.ts";
import { SessionStore } from "./session-store.ts";

const sessions: Session[] = [];

afterEach(() => {
  for (const session of sessions.splice(0)) session.close();
});

function open(edge: ScriptedEdge, options: Partial<SessionOptions> = {}): Session {
  const client = new TokenwireClient({ fetch: edge.fetch, retry: tries(1) }, new ScriptedBrowser());
  const session = new SessionStore(client, { sessionId: "s", pacing: "immediate", ...options }, undefined);
  sessions.push(session);
  return session;
}

/** An edge with so many turns, each with a tool call in the middle of its text. */
async function edgeWith(turns: number): Promise<ScriptedEdge> {
  const edge = new ScriptedEdge();
  const session = open(edge);
  for (let turn = 0; turn < turns; turn += 1) {
    session.send(`say ${turn}`);
    await vi.waitFor(() => expect(edge.runs).toHaveLength(turn + 1));
    edge.run.say("before ");
    edge.run.add({ type: "tool_start", callId: "c", tool: "look", args: {} });
    edge.run.add({ type: "tool_result", callId: "c", tool: "look", result: 1, isError: false });
    edge.run.say("after");
    edge.run.finish();
    await vi.waitFor(() => expect(session.getSnapshot().running).toBe(false));
  }
  session.close();
  edge.requests.length = 0;
  return edge;
}

const calls = (session: Session) => session.getSnapshot().turns.map(({ run }) => run.tools.length);
const followed = ({ requests }: ScriptedEdge) => requests.filter((one) => one.endsWith("/events"));

describe("turns of before", () => {
  it("have their tool calls, where they were called, from their runs' logs", async () => {
    const session = open(await edgeWith(1));
    await session.load();
    await vi.waitFor(() => expect(calls(session)).toEqual([1]));
    const [turn] = session.getSnapshot().turns;
    expect(turn?.run.segments).toEqual(["before ", "after"]);
    expect(turn?.run.tools[0]).toMatchObject({ tool: "look", outcome: { result: 1, isError: false } });
    expect(turn?.run).toMatchObject({ status: "done", connection: "closed", agent: "pace" });
    expect(turn?.run.pace.tokens).toBe(0);
  });

  it("are read one at a time, the newest first, and not all", async () => {
    const edge = await edgeWith(4);
    const session = open(edge, { replayTurns: 2 });
    await session.load();
    await vi.waitFor(() => expect(calls(session)).toEqual([0, 0, 1, 1]));
    expect(followed(edge)).toEqual(["GET /api/runs/r4/events", "GET /api/runs/r3/events"]);
  });

  it("stay as the transcript has them when the log is gone, and older ones are not asked for", async () => {
    const edge = await edgeWith(3);
    const { fetch } = edge;
    const expired = vi.fn();
    Object.assign(edge, {
      fetch: async (url: string, init?: RequestInit) => {
        if (!url.endsWith("/events")) return fetch(url, init);
        expired(url);
        return Response.json({ code: "NOT_FOUND" }, { status: 404 });
      },
    });
    const session = open(edge);
    await session.load();
    await vi.waitFor(() => expect(expired).toHaveBeenCalled());
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(expired).toHaveBeenCalledOnce();
    expect(calls(session)).toEqual([0, 0, 0]);
    expect(session.getSnapshot().turns.map(({ run }) => run.segments.join(""))).toEqual(
      Array(3).fill("before after"),
    );
  });

  it("stay as they are when the log has lost its beginning", async () => {
    const edge = await edgeWith(1);
    const resync = { first: "r1.1.4", last: "r1.1.6", reason: "trimmed" };
    edge.run.frames.splice(0, 3, `event: resync\ndata: ${JSON.stringify(resync)}\n\n`);
    const session = open(edge);
    await session.load();
    await vi.waitFor(() => expect(followed(edge)).toHaveLength(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(session.getSnapshot().turns[0]?.run.segments).toEqual(["before after"]);
    expect(calls(session)).toEqual([0]);
  });

  it("leave it to the server to close a stream that was read to its end", async () => {
    const edge = await edgeWith(1);
    const { fetch } = edge;
    const signals: (AbortSignal | null | undefined)[] = [];
    let close: () => void = () => undefined;
    Object.assign(edge, {
      fetch: async (url: string, init?: RequestInit) => {
        if (!url.endsWith("/events")) return fetch(url, init);
        signals.push(init?.signal);
        const { headers, body } = await fetch(url, init);
        const flush = () => new Promise<void>((resolve) => (close = resolve));
        return new Response(body?.pipeThrough(new TransformStream({ flush })), { headers });
      },
    });
    const session = open(edge);
    await session.load();
    await vi.waitFor(() => expect(calls(session)).toEqual([1]));
    expect(signals.map((signal) => signal?.aborted)).toEqual([false]);
    close();
  });

  it("are left when the session closes", async () => {
    const edge = await edgeWith(1);
    edge.run.frames.pop();
    const session = open(edge);
    await session.load();
    await vi.waitFor(() => expect(followed(edge)).toHaveLength(1));
    session.close();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(followed(edge)).toHaveLength(1);
  });

  it("are read again later when an answer needs the only stream that the server allows", async () => {
    const edge = await edgeWith(2);
    const { fetch } = edge;
    const streams = new Set<AbortSignal>();
    const refused = vi.fn();
    let held = 0;
    Object.assign(edge, {
      fetch: async (url: string, init: RequestInit = {}) => {
        const { signal } = init;
        const isStream = url.endsWith("/events") || url.endsWith("/api/chat");
        if (!isStream || !(signal instanceof AbortSignal)) return fetch(url, init);
        if ([...streams].some((other) => !other.aborted)) {
          refused(url);
          return Response.json({ code: "RESOURCE_EXHAUSTED", retryable: true }, { status: 429 });
        }
        streams.add(signal);
        const { headers, body } = await fetch(url, init);
        if (url.endsWith("/events") && (held += 1) === 1) {
          // A log that takes its time.
          return new Response(new ReadableStream(), { headers });
        }
        const flush = () => void streams.delete(signal);
        return new Response(body?.pipeThrough(new TransformStream({ flush })), { headers });
      },
    });
    const session = open(edge);
    await session.load();
    await vi.waitFor(() => expect(followed(edge)).toEqual(["GET /api/runs/r2/events"]));
    session.send("now");
    await vi.waitFor(() => expect(edge.runs).toHaveLength(3));
    await vi.waitFor(() => expect(refused).toHaveBeenCalledWith("/api/runs/r2/events"));
    edge.run.say("here");
    edge.run.finish();
    await vi.waitFor(() => expect(calls(session)).toEqual([1, 1, 0]));
    expect(session.getSnapshot().turns.at(-1)?.run.segments).toEqual(["here"]);
    expect(refused.mock.calls.flat()).not.toContainEqual(expect.stringContaining("/api/chat"));
  });
});
