import { expect, it } from "vitest";
import { newId } from "./environment.ts";

it("needs no secure context", () => {
  const bare = { getRandomValues: crypto.getRandomValues.bind(crypto) };
  expect(newId(bare)).toMatch(/^[0-9a-f]{32}$/);
  expect(newId(bare)).not.toBe(newId(bare));
});
