/** What the server tells of runs and sessions, as JSON. */
import { Fields } from "./fields.ts";

export interface Terminal {
  /** `done` or `error`. */
  readonly event: string;
  /** The finish reason, or the error's code. */
  readonly reason: string;
}

/** What the server knows of a run. */
export interface RunInfo {
  readonly runId: string;
  readonly sessionId: string;
  readonly agent: string;
  /** `running`, `cancelling` or `ended`; newer servers may know more. All but `ended` go on. */
  readonly state: string;
  readonly onDisconnect: string;
  /** The ids of the first and the last event that the log holds; null when it holds none. */
  readonly first: string | null;
  readonly last: string | null;
  readonly terminal: Terminal | null;
  /** RFC 3339. */
  readonly createTime: string | null;
  readonly endTime: string | null;
  readonly expireTime: string | null;
}

/** A session's runs, newest first. */
export interface RunsPage {
  readonly runs: readonly RunInfo[];
  /** Asks for the next page; empty on the last. */
  readonly nextPageToken: string;
}

/** One question and what came of it. */
export interface TranscriptTurn {
  readonly runId: string;
  /** What the user said; empty when the server does not know any more. */
  readonly message: string;
  readonly state: string;
  readonly terminal: Terminal | null;
  /** The answer; null while the run goes on, and when it is not kept. */
  readonly text: string | null;
  readonly first: string | null;
  readonly last: string | null;
  readonly createTime: string | null;
}

/** A session's turns, oldest first. */
export interface TranscriptPage {
  readonly turns: readonly TranscriptTurn[];
  /** Asks for the next page; empty on the last. */
  readonly nextPageToken: string;
}

export interface PageOptions {
  readonly pageSize?: number;
  readonly pageToken?: string;
  /** Abort gives the request up. */
  readonly signal?: AbortSignal;
}

export function readRun(value: unknown): RunInfo {
  const fields = new Fields(value);
  return {
    runId: fields.string("runId"),
    sessionId: fields.stringOr("sessionId", ""),
    agent: fields.stringOr("agent", ""),
    state: fields.stringOr("state", "running"),
    onDisconnect: fields.stringOr("onDisconnect", "grace"),
    first: fields.stringOr("first", null),
    last: fields.stringOr("last", null),
    terminal: readTerminal(fields),
    createTime: fields.stringOr("createTime", null),
    endTime: fields.stringOr("endTime", null),
    expireTime: fields.stringOr("expireTime", null),
  };
}

export function readRuns(value: unknown): RunsPage {
  const fields = new Fields(value);
  return {
    runs: fields.list("runs").map(readRun),
    nextPageToken: fields.stringOr("nextPageToken", ""),
  };
}

export function readTranscript(value: unknown): TranscriptPage {
  const fields = new Fields(value);
  return {
    turns: fields.list("turns").map(readTurn),
    nextPageToken: fields.stringOr("nextPageToken", ""),
  };
}

function readTurn(value: unknown): TranscriptTurn {
  const fields = new Fields(value);
  return {
    runId: fields.string("runId"),
    message: fields.stringOr("message", ""),
    state: fields.stringOr("state", "ended"),
    terminal: readTerminal(fields),
    text: fields.stringOr("text", null),
    first: fields.stringOr("first", null),
    last: fields.stringOr("last", null),
    createTime: fields.stringOr("createTime", null),
  };
}

function readTerminal(fields: Fields): Terminal | null {
  const terminal = fields.object("terminal");
  return terminal === undefined
    ? null
    : { event: terminal.stringOr("event", ""), reason: terminal.stringOr("reason", "") };
}
