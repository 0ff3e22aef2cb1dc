import { reduce, startState } from "@tokenwire/client";
import { expect, it } from "vitest";
import { footerFacts } from "./footer-facts.ts";

it("says nothing of an answer without a token", () => {
  expect(footerFacts(startState(0))).toEqual([]);
});

it("takes the model's count of tokens when there is one", () => {
  const text = { type: "text_delta", content: "a", tokens: 1, timestamp: 1 } as const;
  const done = {
    type: "done",
    finalMessage: "a",
    finalMessageOmitted: false,
    finishReason: "stop",
    usage: { outputTokens: 1234 },
    timestamp: 1,
  } as const;
  const state = [text, done].reduce(
    (before, event) => reduce(before, { kind: "event", event, atMs: 1520 }),
    startState(0),
  );
  expect(footerFacts(state)).toEqual(["1,234 tokens", "first after 1.52 s"]);
});
