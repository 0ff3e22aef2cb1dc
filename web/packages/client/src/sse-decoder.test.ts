import { expect, it } from "vitest";
import { SseDecoder } from "./sse-decoder.ts";

const encoder = new TextEncoder();

it("puts code points together that a chunk border cut", () => {
  const bytes = encoder.encode('data: "naïve 🍎 日本"\n\n');
  for (let border = 0; border <= bytes.length; border += 1) {
    const decoder = new SseDecoder();
    const messages = [...decoder.feed(bytes.subarray(0, border)), ...decoder.feed(bytes.subarray(border))];
    expect(messages.map(({ data }) => data)).toEqual(['"naïve 🍎 日本"']);
  }
});

it("passes over comments", () => {
  expect(new SseDecoder().feed(encoder.encode(": open\n\n: heartbeat\n\ndata: 1\n\n"))).toHaveLength(1);
});

it("keeps carriage returns and line separators inside JSON out of the framing", () => {
  const data = JSON.stringify("a\r\nb\u2028c");
  expect(new SseDecoder().feed(encoder.encode(`data: ${data}\n\n`))).toMatchObject([{ data }]);
});

it("gives an id to its own message only", () => {
  const messages = new SseDecoder().feed(encoder.encode("id: r.1.1\ndata: 1\n\nevent: ping\ndata: {}\n\n"));
  expect(messages.map(({ id }) => id)).toEqual(["r.1.1", undefined]);
});

it("never returns a message that is cut off", () => {
  expect(new SseDecoder().feed(encoder.encode("data: 1\n\ndata: 2\n"))).toHaveLength(1);
});

it("remembers the server's retry", () => {
  const decoder = new SseDecoder();
  decoder.feed(encoder.encode("retry: 1234\n\n"));
  expect(decoder.retryMs).toBe(1234);
});
