import { expect, it } from "vitest";
import { addressOf, readAddress } from "./page-address.ts";

it.each([
  ["", undefined, undefined],
  ["?agent=portfolio", "portfolio", undefined],
  ["?agent=%20&session=", undefined, undefined],
  ["?session=s-1&agent=a%2Fb", "a/b", "s-1"],
])("an address says who answers and in which conversation: %s", (search, agent, sessionId) => {
  expect(readAddress(search)).toEqual({ agent, sessionId });
});

it("a conversation has an address, and a new one keeps the agent", () => {
  expect(addressOf("?agent=portfolio", "s 1")).toBe("./?agent=portfolio&session=s+1");
  expect(addressOf("?agent=portfolio&session=s", undefined)).toBe("./?agent=portfolio");
  expect(addressOf("?session=s", undefined)).toBe("./");
});
