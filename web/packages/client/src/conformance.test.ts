import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { CONTROL_NAMES, EVENT_TYPES, parseMessage, type SseMessage } from "./parse-event.ts";
import { SseDecoder } from "./sse-decoder.ts";

/** What a client must see of one message. */
interface ExpectedMessage {
  readonly event?: string | null;
  readonly id?: string | null;
  /** The exact `data`, or the JSON value in it. */
  readonly data: unknown;
}

interface ConformanceCase {
  readonly name: string;
  readonly description: string;
  /** The exact SSE text. */
  readonly frames: string;
  readonly client: readonly ExpectedMessage[];
}

const FOLDER = new URL("../../../../tests/conformance/cases/", import.meta.url);
const CASES = readCases();

function readCases(): readonly ConformanceCase[] {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  return files
    .sort()
    .flatMap((name) => JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as ConformanceCase);
}

/** Return what the decoder makes of these chunks, in the shape of the case's `client`. */
function read(chunks: Iterable<Uint8Array>, expected: readonly ExpectedMessage[]): ExpectedMessage[] {
  const decoder = new SseDecoder();
  const messages = [...chunks].flatMap((chunk) => decoder.feed(chunk));
  return messages.map((message, index) => seen(message, expected[index]));
}

function seen(message: SseMessage, expected: ExpectedMessage | undefined): ExpectedMessage {
  const exact = expected === undefined || typeof expected.data === "string";
  return {
    event: message.event ?? "message",
    id: message.id ?? null,
    data: exact ? message.data : JSON.parse(message.data),
  };
}

function normalised(expected: readonly ExpectedMessage[]): ExpectedMessage[] {
  return expected.map(({ event, id, data }) => ({ event: event ?? "message", id: id ?? null, data }));
}

it("has a corpus", () => {
  expect(CASES.length).toBeGreaterThan(0);
});

describe.each(CASES)("$name", ({ frames, client }) => {
  const bytes = new TextEncoder().encode(frames);
  const expected = normalised(client);

  it("reads the same from one chunk", () => {
    expect(read([bytes], client)).toEqual(expected);
  });

  it("reads the same byte by byte", () => {
    const single = Array.from(bytes, (byte) => Uint8Array.of(byte));
    expect(read(single, client)).toEqual(expected);
  });

  it("reads the same from two chunks, wherever the border lies", () => {
    for (let border = 0; border <= bytes.length; border += 1) {
      const chunks = [bytes.subarray(0, border), bytes.subarray(border)];
      expect(read(chunks, client), `border at byte ${border}`).toEqual(expected);
    }
  });

  it("holds nothing malformed", () => {
    const parsed = new SseDecoder().feed(bytes).map(parseMessage);
    expect(parsed.filter(({ kind }) => kind === "malformed")).toEqual([]);
  });
});

it("shows every event type and every control frame of the contract", () => {
  const encoder = new TextEncoder();
  const parsed = CASES.flatMap(({ frames }) =>
    new SseDecoder().feed(encoder.encode(frames)).map(parseMessage),
  );
  const types = new Set(parsed.map((one) => (one.kind === "event" ? one.event.type : undefined)));
  const controls = new Set(parsed.map((one) => (one.kind === "control" ? one.frame.control : undefined)));
  expect(EVENT_TYPES.filter((type) => !types.has(type))).toEqual([]);
  expect(CONTROL_NAMES.filter((name) => !controls.has(name))).toEqual([]);
});
