import { expect, it } from "vitest";
import { compareCursors, parseCursor } from "./cursor.ts";

function cursor(id: string) {
  const parsed = parseCursor(id);
  if (parsed === undefined) throw new Error(`${id} is no cursor`);
  return parsed;
}

it("reads run, epoch and sequence", () => {
  expect(parseCursor("k7q2.1.42")).toEqual({ id: "k7q2.1.42", runId: "k7q2", epoch: 1, sequence: 42 });
});

it.each(["", "k7q2", "k7q2.1", "k7q2.1.x", ".1.2", "a.b.1.2", "k7q2.1.-2"])(
  "takes %j for no cursor",
  (id) => {
    expect(parseCursor(id)).toBeUndefined();
  },
);

it("orders by epoch first, then by sequence, as numbers", () => {
  expect(compareCursors(cursor("r.1.9"), cursor("r.1.10"))).toBeLessThan(0);
  expect(compareCursors(cursor("r.2.3"), cursor("r.1.99"))).toBeGreaterThan(0);
  expect(compareCursors(cursor("r.1.7"), cursor("r.1.7"))).toBe(0);
});
