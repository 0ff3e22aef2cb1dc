/** The README's recipes run: each is a file here, against its framework as it is published. */
import { readFileSync } from "node:fs";
import { effectScope } from "vue";
import { get } from "svelte/store";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createClient } from "../src/client.ts";
import { ScriptedEdge } from "../src/scripted-edge.ts";
import type { Session, SessionSnapshot } from "../src/session.ts";
import { openSession } from "./svelte.ts";
import { useSession } from "./vue.ts";

const OPTIONS = { sessionId: "s", pacing: "immediate" } as const;
const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");

let edge: ScriptedEdge;

beforeEach(() => {
  edge = new ScriptedEdge();
});

afterEach(() => vi.useRealTimers());

const newClient = () => createClient({ baseUrl: "https://edge.example/api", fetch: edge.fetch });
const textOf = ({ turns }: SessionSnapshot) => turns.map(({ run }) => run.segments.join("")).join("|");

/** Have the agent say one more thing. */
async function hear(session: Session, message: string, answer: string): Promise<void> {
  session.send(message);
  await vi.waitFor(() => expect(edge.run.message).toBe(message));
  edge.run.say(answer);
  edge.run.finish();
  await vi.waitFor(() => expect(session.getSnapshot().status).toBe("done"));
}

it.each(["vue", "svelte"])("stands in the README as it is tried: %s", (name) => {
  expect(README).toContain(readFileSync(new URL(`${name}.ts`, import.meta.url), "utf8").trim());
});

describe("Vue", () => {
  it("shows each change until its scope ends, and stops no run then", async () => {
    const scope = effectScope();
    const { session, snapshot } = scope.run(() => useSession(newClient(), OPTIONS)) ?? expect.fail();
    await hear(session, "one", "first");
    expect(textOf(snapshot.value)).toBe("first");
    scope.stop();
    await hear(session, "two", "second");
    expect(textOf(snapshot.value)).toBe("first");
    expect(textOf(session.getSnapshot())).toBe("first|second");
  });
});

describe("Svelte", () => {
  it("shows each change to its subscribers, and to a later one what it has missed", async () => {
    const { session, snapshot, release } = openSession(newClient(), OPTIONS);
    let shown = "";
    const unsubscribe = snapshot.subscribe((value) => (shown = textOf(value)));
    await hear(session, "one", "first");
    expect(shown).toBe("first");
    unsubscribe();
    await hear(session, "two", "second");
    expect(shown).toBe("first");
    expect(textOf(get(snapshot))).toBe("first|second");
    release();
  });
});
