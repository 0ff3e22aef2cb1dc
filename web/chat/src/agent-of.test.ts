import { expect, it } from "vitest";
import { agentOf } from "./agent-of.ts";

it("the page's address may name the agent", () => {
  expect(agentOf("?agent=portfolio&x=1")).toBe("portfolio");
  expect(["", "?agent=", "?agent=%20", "?x=1"].map(agentOf)).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
