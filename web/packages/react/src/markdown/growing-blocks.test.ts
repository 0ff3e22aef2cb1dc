import fc from "fast-check";
import type { Tokens } from "marked";
import { describe, expect, it } from "vitest";
import { GrowingBlocks } from "./growing-blocks.ts";
import { anyAnswer } from "./samples.ts";

const SMALL = { characters: 60, lines: 6 };

/** Where a text is cut on its way. */
const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 });

function inPieces(text: string, lengths: readonly number[], limits = SMALL) {
  const growing = new GrowingBlocks(limits);
  let end = 0;
  for (let turn = 0; end < text.length; turn += 1) {
    end += lengths[turn % lengths.length] ?? 1;
    growing.read(text.slice(0, end));
  }
  return growing.read(text);
}

describe("a text that grows", () => {
  it("has the blocks of the whole text, in whatever pieces it came", () => {
    fc.assert(
      fc.property(anyAnswer, cuts, (text, lengths) => {
        expect(inPieces(text, lengths)).toEqual(new GrowingBlocks(SMALL).read(text));
      }),
      { numRuns: 2_000, seed: 7 },
    );
  }, 60_000);

  it("has the blocks that marked gives where nothing is longer than a window", () => {
    fc.assert(
      fc.property(anyAnswer, cuts, (text, lengths) => {
        expect(inPieces(text, lengths, { characters: 8_000, lines: 300 })).toEqual(
          new GrowingBlocks({ characters: Infinity, lines: Infinity }).read(text),
        );
      }),
      { numRuns: 1_000, seed: 7 },
    );
  }, 60_000);

  it("loses no character", () => {
    fc.assert(
      fc.property(anyAnswer, (text) => {
        const blocks = new GrowingBlocks(SMALL).read(text);
        const shown = blankless(blocks.map(({ token }) => token.raw).join(""));
        // The header of a table that was cut stands before each part.
        if (blocks.some(({ token }) => token.type === "table"))
          expect(shown).toContain(blankless(text).slice(-9));
        else expect(shown).toBe(blankless(text));
      }),
      { numRuns: 2_000, seed: 7 },
    );
  }, 60_000);

  it("keeps the blocks that are finished, as objects", () => {
    const growing = new GrowingBlocks();
    const [first] = growing.read("a\n\nb\n\nc\n\nd\n\ne");
    expect(growing.read("a\n\nb\n\nc\n\nd\n\ne f")[0]).toBe(first);
    expect(growing.read("other").map(({ token }) => token.raw)).toEqual(["other"]);
  });
});

describe("a table longer than a window", () => {
  it("has its header over each part", () => {
    const rows = Array.from({ length: 40 }, (_, index) => `| row ${index} | x |\n`);
    const blocks = new GrowingBlocks({ characters: 4_000, lines: 20 }).read(
      `| a | b |\n|---|---|\n${rows.join("")}\nEnd.`,
    );
    const types = blocks.map(({ token }) => token.type);
    expect(new Set(types.slice(0, -1))).toEqual(new Set(["table"]));
    expect(
      blocks.flatMap(({ token }) => (token.type === "table" ? (token as Tokens.Table).rows : [])),
    ).toHaveLength(40);
  });
});

it("code is one block, however long it is", () => {
  const code = "\n\n# no heading\n".repeat(3_000);
  const blocks = new GrowingBlocks().read(`\`\`\`\n${code}\`\`\`\nEnd.`);
  expect(blocks.map(({ token }) => token.type)).toEqual(["code", "paragraph"]);
});

function blankless(text: string): string {
  return text.replace(/\s/g, "");
}
