import { type Cursor, compareCursors, parseCursor } from "./cursor.ts";
import type { ControlFrame, StreamEvent } from "./events.ts";
import { eventFailure, type Failure } from "./failure.ts";
import { type ParsedMessage, parseMessage, type SseMessage } from "./parse-event.ts";
import type { Signal } from "./stream-state.ts";

/** Why reading can't go on in this connection. */
export type End =
  /** The terminal event was read. */
  | { readonly kind: "finished" }
  /** Read again behind the cursor, after a pause. */
  | {
      readonly kind: "broken";
      readonly retryMs?: number | undefined;
      readonly failure?: Failure | undefined;
    }
  /** A merged frame begins with text already shown and can't be cut: ask for what follows the cursor. */
  | { readonly kind: "overlap" };

/** One run's messages in, signals out: order, duplicates, gaps and the end. Pure. */
export class RunReader {
  readonly #emit: (signal: Signal) => void;
  #runId: string | undefined;
  #cursor: Cursor | undefined;
  #finished = false;
  #heard = false;

  /**
   * @param runId - The run, when it is known already.
   * @param after - The id of the last event that was seen, if any.
   */
  constructor(emit: (signal: Signal) => void, runId?: string, after?: string) {
    this.#emit = emit;
    this.#runId = runId;
    this.#cursor = after === undefined ? undefined : parseCursor(after);
  }

  get runId(): string | undefined {
    return this.#runId;
  }

  /** The id of the last event that was seen. */
  get cursor(): string | undefined {
    return this.#cursor?.id;
  }

  /** The terminal event was read: nothing that comes later counts. */
  get finished(): boolean {
    return this.#finished;
  }

  /** Return whether something new came since this was last asked: events, or that there are none yet. */
  takeHeard(): boolean {
    const heard = this.#heard;
    this.#heard = false;
    return heard;
  }

  /** Learn the run's id from elsewhere, a header say. */
  learn(runId: string | undefined): void {
    this.#runId ??= runId;
  }

  /** Read another run from its start. */
  switchTo(runId: string): void {
    this.#runId = runId;
    this.#cursor = undefined;
  }

  /** Take one message; return how the connection ended if this message ends it. */
  take(message: SseMessage, atMs: number): End | undefined {
    if (this.#finished) return { kind: "finished" };
    const parsed = parseMessage(message);
    if (parsed.kind === "control") return this.#takeControl(parsed.frame);
    const place = this.#advance(parsed);
    if (place === "seen") return undefined;
    if (place === "overlap") return { kind: "overlap" };
    if (parsed.kind === "malformed") this.#emit({ kind: "gap", restart: false, complete: false });
    if (parsed.kind !== "event") return undefined;
    return this.#takeEvent(parsed.event, parsed.cursor, atMs);
  }

  #takeEvent(event: StreamEvent, cursor: Cursor | undefined, atMs: number): End | undefined {
    // The edge's own error: it has no way to the run, which may still be there.
    if (event.type === "error" && cursor === undefined && event.retryable) {
      return { kind: "broken", failure: eventFailure(event, true) };
    }
    if (event.type === "run_started") this.learn(event.runId);
    this.#finished = event.type === "done" || event.type === "error";
    this.#emit({ kind: "event", event, atMs, cursor });
    return this.#finished ? { kind: "finished" } : undefined;
  }

  #takeControl(frame: ControlFrame): End | undefined {
    if (frame.control === "reconnect") return { kind: "broken", retryMs: frame.retryMs };
    if (frame.control === "caught_up") this.#heard = true;
    if (frame.control === "resync") this.#resync(parseCursor(frame.first));
    this.#emit({ kind: "control", frame });
    return undefined;
  }

  /** The stream goes on at `first`: anew when that lies at or before what was seen, behind a gap otherwise. */
  #resync(first: Cursor | undefined): void {
    const restart =
      first !== undefined && this.#cursor !== undefined && compareCursors(first, this.#cursor) <= 0;
    this.#cursor = undefined;
    this.#emit({ kind: "gap", restart, complete: first?.sequence === 1 });
  }

  /** Move the cursor to the message's place, if it has one. */
  #advance(parsed: Exclude<ParsedMessage, { kind: "control" }>): "new" | "seen" | "overlap" {
    const { cursor } = parsed;
    if (cursor === undefined) return "new";
    if (this.#cursor !== undefined) {
      if (compareCursors(cursor, this.#cursor) <= 0) return "seen";
      const first = parsed.kind === "event" && "from" in parsed.event ? parsed.event.from : undefined;
      if (first !== undefined && first <= this.#cursor.sequence) return "overlap";
    }
    this.#cursor = cursor;
    this.#heard = true;
    this.learn(cursor.runId);
    return "new";
  }
}
