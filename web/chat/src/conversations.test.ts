import { beforeEach, describe, expect, it, vi } from "vitest";
import { Conversations, MAX_CONVERSATIONS } from "./conversations.ts";

const said = (sessionId: string, title = sessionId, atMs = 1) => ({
  sessionId,
  title,
  agent: undefined,
  atMs,
});
const ids = (conversations: Conversations) => conversations.getList().map(({ sessionId }) => sessionId);

beforeEach(() => {
  localStorage.clear();
});

describe("the list of conversations", () => {
  it("has the newest first, each once, under its first title", () => {
    const conversations = new Conversations(localStorage);
    conversations.touch(said("a", "first words"));
    conversations.touch(said("b"));
    conversations.touch(said("a", "other words", 2));
    expect(conversations.getList()).toEqual([{ ...said("a", "first words", 2) }, { ...said("b") }]);
  });

  it("has a name for a conversation whose first words the server has forgotten", () => {
    const conversations = new Conversations(localStorage);
    conversations.touch(said("a", " \n"));
    expect(conversations.getList()[0]?.title).toBe("Untitled");
  });

  it("is bounded, and so are its titles", () => {
    const conversations = new Conversations(localStorage);
    for (let number = 0; number < MAX_CONVERSATIONS + 5; number += 1) {
      conversations.touch(said(`s${number}`, "a\n b ".repeat(1_000)));
    }
    expect(ids(conversations)).toHaveLength(MAX_CONVERSATIONS);
    expect(ids(conversations)[0]).toBe(`s${MAX_CONVERSATIONS + 4}`);
    expect(conversations.getList()[0]?.title).toHaveLength(121);
    expect(conversations.getList()[0]?.title).toMatch(/^a b a b/);
  });

  it("outlives the page, and nothing is stored when it is empty", () => {
    new Conversations(localStorage).touch(said("a"));
    const later = new Conversations(localStorage);
    expect(ids(later)).toEqual(["a"]);
    later.remove("a");
    expect(localStorage).toHaveLength(0);
  });

  it("keeps what other tabs have added, and hears of it", () => {
    const here = new Conversations(localStorage);
    const there = new Conversations(localStorage);
    const heard = vi.fn();
    const stop = here.subscribe(heard);
    there.touch(said("there"));
    globalThis.dispatchEvent(new StorageEvent("storage", { key: "tokenwire.conversations" }));
    expect(heard).toHaveBeenCalledOnce();
    there.touch(said("later"));
    here.touch(said("here"));
    expect(ids(here)).toEqual(["here", "later", "there"]);
    stop();
  });

  it.each([
    "{",
    "3",
    '[null, {"sessionId": 1}, {"sessionId": "a"}]',
    '[{"sessionId": "a", "title": "a time that no date has", "atMs": 1e300}]',
  ])("passes over what is none: %s", (text) => {
    localStorage.setItem("tokenwire.conversations", text);
    expect(new Conversations(localStorage).getList()).toEqual([]);
  });

  it("lives as long as the page where there is no room", () => {
    const full = {
      getItem: () => null,
      removeItem: () => {},
      setItem: () => {
        throw new DOMException("full");
      },
    };
    const conversations = new Conversations(full);
    conversations.touch(said("a"));
    conversations.touch(said("b"));
    expect(ids(conversations)).toEqual(["b", "a"]);
  });

  it("has each conversation once, and no more than fit, whatever was stored", () => {
    const stored = Array.from({ length: 200 }, (_, number) =>
      said(`s${Math.floor(number / 2)}`, `${number}`),
    );
    localStorage.setItem("tokenwire.conversations", JSON.stringify(stored));
    const known = ids(new Conversations(localStorage));
    expect(new Conversations(localStorage).getList()[1]).toEqual(said("s1", "2"));
    expect(known).toHaveLength(MAX_CONVERSATIONS);
    expect(new Set(known).size).toBe(MAX_CONVERSATIONS);
  });
});
