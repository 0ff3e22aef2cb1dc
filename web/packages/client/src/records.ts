/** What the server tells of runs and sessions, as JSON. */
import { readFields, type Shape } from "./fields.ts";

/** How a run ended. */
export interface Terminal {
  /** `done` or `error`. */
  readonly event: string;
  /** The finish reason, or the error's code. */
  readonly reason: string;
}

/** What the server knows of a run. */
export interface RunInfo {
  /** The run's id. */
  readonly runId: string;
  /** The session that it belongs to; empty for none. */
  readonly sessionId: string;
  /** The agent that answers. */
  readonly agent: string;
  /** `running`, `cancelling` or `ended`; newer servers may know more. All but `ended` go on. */
  readonly state: string;
  /** `cancel`, `grace` or `continue`: what becomes of it when its last follower has left. */
  readonly onDisconnect: string;
  /** The ids of the first and the last event that the log holds; null when it holds none. */
  readonly first: string | null;
  /** The id of the last event that the log holds. */
  readonly last: string | null;
  /** How it ended; null while it goes on. */
  readonly terminal: Terminal | null;
  /** RFC 3339. */
  readonly createTime: string | null;
  /** When it ended: RFC 3339; null while it goes on. */
  readonly endTime: string | null;
  /** When the server forgets it: RFC 3339; null while it goes on. */
  readonly expireTime: string | null;
}

/** A session's runs, newest first. */
export interface RunsPage {
  /** At most as many as were asked for. */
  readonly runs: readonly RunInfo[];
  /** Asks for the next page; empty on the last. */
  readonly nextPageToken: string;
}

/** One question and what came of it. */
export interface TranscriptTurn {
  /** The run that answers. */
  readonly runId: string;
  /** What the user said; empty when the server does not know any more. */
  readonly message: string;
  /** Of the run: see {@link RunInfo.state}. */
  readonly state: string;
  /** How the run ended; null while it goes on. */
  readonly terminal: Terminal | null;
  /** The whole answer, or what there is of one that was stopped or failed; null: follow the run from its start. */
  readonly text: string | null;
  /** The id of the first event that the log still holds; null when it holds none. */
  readonly first: string | null;
  /** The id of the last one. */
  readonly last: string | null;
  /** When the question was asked: RFC 3339; null when the server does not know. */
  readonly createTime: string | null;
}

/** A session's turns, in the order that was asked for. */
export interface TranscriptPage {
  /** At most as many as were asked for. */
  readonly turns: readonly TranscriptTurn[];
  /** Asks for the next page; empty on the last. */
  readonly nextPageToken: string;
}

/** Which page of a list. */
export interface PageOptions {
  /** 1 to 100; 20 by default. */
  readonly pageSize?: number;
  /** The `nextPageToken` of the page before; absent or empty for the first one. */
  readonly pageToken?: string;
  /** Abort gives the request up. */
  readonly signal?: AbortSignal;
}

const PLACES = { first: null, last: null, terminal: null, createTime: null };

const RUN: Shape = {
  need: ["runId"],
  or: {
    sessionId: "",
    agent: "",
    state: "running",
    onDisconnect: "grace",
    endTime: null,
    expireTime: null,
    ...PLACES,
  },
};

const TURN: Shape = { need: ["runId"], or: { message: "", state: "ended", text: null, ...PLACES } };

/** Which page of a transcript. */
export interface TranscriptOptions extends PageOptions {
  /** `newest` begins at the end of the conversation and goes back. Default `oldest`. */
  readonly order?: "oldest" | "newest";
}

/** Return what an answer says of a run. */
export function readRun(value: unknown): RunInfo {
  return readFields(RUN, value) as unknown as RunInfo;
}

/** Return what an answer says of a session's runs. */
export function readRuns(value: unknown): RunsPage {
  return readPage(value, "runs", readRun) as unknown as RunsPage;
}

/** Return what an answer says of a session's turns. */
export function readTranscript(value: unknown): TranscriptPage {
  return readPage(value, "turns", (turn) => readFields(TURN, turn)) as unknown as TranscriptPage;
}

function readPage(value: unknown, name: string, read: (item: unknown) => unknown): Record<string, unknown> {
  const page = readFields({ or: { [name]: [], nextPageToken: "" } }, value);
  return { ...page, [name]: (page[name] as unknown[]).map(read) };
}
