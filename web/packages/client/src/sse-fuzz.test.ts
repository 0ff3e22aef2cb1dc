import { createParser, type EventSourceMessage } from "eventsource-parser";
import { describe, expect, it } from "vitest";
import type { SseMessage } from "./parse-event.ts";
import { SseDecoder } from "./sse-decoder.ts";

const encoder = new TextEncoder();
const BOM = "\u{feff}";

/** Numbers that look random and are the same each time. Source: https://prng.di.unimi.it/splitmix64.c, in 32 bits. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
}

const LINES = [
  'data: {"type":"text_delta","content":"naïve 🍎 日本"}',
  "data: \u2028\u2029\u0085 no ends of lines",
  "data:no space",
  "data:  two spaces",
  "data",
  "data:",
  "id: r1.1.7",
  "id",
  "id: with\0nul",
  "event: caught_up",
  "event:",
  "retry: 1234",
  "retry: soon",
  ": a comment",
  ":",
  "unknown: field",
  "Data: another field",
  `${BOM}data: no mark in the middle`,
  "",
  "",
  "",
];

/** Return a stream of lines that end in all of the ways that there are. */
function streamOf(seed: number): string {
  const random = randomOf(seed);
  const only = ["\n", "\r", "\r\n"][random(6)];
  const lines = Array.from({ length: 8 + random(40) }, () => {
    const end = only ?? ["\n", "\r", "\r\n"][random(3)] ?? "";
    return `${LINES[random(LINES.length)] ?? ""}${end}`;
  });
  // A line behind the last event, for the oracle waits after a CR for the next character.
  return `${random(3) === 0 ? BOM : ""}${lines.join("")}: end\n`;
}

/** What another implementation makes of the whole text. */
function oracle(text: string): SseMessage[] {
  const messages: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message) });
  parser.feed(text.startsWith(BOM) ? text.slice(1) : text);
  return messages.map(({ event, id, data }) => ({ event, id, data }));
}

function read(chunks: readonly Uint8Array[]): SseMessage[] {
  const decoder = new SseDecoder();
  return chunks.flatMap((chunk) => decoder.feed(chunk));
}

describe.each(Array.from({ length: 60 }, (_, seed) => seed))("stream %i", (seed) => {
  const text = streamOf(seed);
  const bytes = encoder.encode(text);
  const expected = oracle(text);

  it("reads as another implementation reads it, cut at every byte", () => {
    for (let border = 0; border <= bytes.length; border += 1) {
      const seen = read([bytes.subarray(0, border), bytes.subarray(border)]);
      expect(seen, `border at byte ${border}`).toEqual(expected);
    }
  });

  it("reads the same byte by byte, and in pieces of any size", () => {
    expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(expected);
    const random = randomOf(seed + 1_000);
    const pieces: Uint8Array[] = [];
    for (let start = 0; start < bytes.length;) {
      const size = random(9);
      pieces.push(bytes.subarray(start, start + size));
      start += size;
    }
    expect(read(pieces)).toEqual(expected);
  });
});

it("finds messages in the streams that it reads", () => {
  const counts = Array.from({ length: 60 }, (_, seed) => oracle(streamOf(seed)).length);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(100);
});

it("hands a message over with the CR that ends it, before anything follows", () => {
  const decoder = new SseDecoder();
  expect(decoder.feed(encoder.encode("data: 1\r\r"))).toMatchObject([{ data: "1" }]);
  expect(decoder.feed(encoder.encode("\ndata: 2\r\n\r"))).toMatchObject([{ data: "2" }]);
  expect(decoder.feed(encoder.encode("\ndata: 3\n\n"))).toMatchObject([{ data: "3" }]);
});

it("takes bytes that are no UTF-8 for U+FFFD, and goes on", () => {
  const bytes = Uint8Array.of(
    ...encoder.encode("data: a"),
    0xf0,
    0x9f,
    ...encoder.encode("b\n\ndata: c\n\n"),
  );
  expect(read([bytes]).map(({ data }) => data)).toEqual(["a\u{fffd}b", "c"]);
});
