/** What the server tells of runs and sessions, as JSON. */
import { readFields, type Shape } from "./fields.ts";

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
  /** The whole answer, or what there is of one that was stopped or failed; null: follow the run from its start. */
  readonly text: string | null;
  readonly first: string | null;
  readonly last: string | null;
  readonly createTime: string | null;
}

/** A session's turns, in the order that was asked for. */
export interface TranscriptPage {
  readonly turns: readonly TranscriptTurn[];
  /** Asks for the next page; empty on the last. */
  readonly nextPageToken: string;
}

/** Which page of a list. */
export interface PageOptions {
  readonly pageSize?: number;
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
  const page = readFields({ or: { runs: [], nextPageToken: "" } }, value) as unknown as RunsPage;
  return { ...page, runs: page.runs.map(readRun) };
}

/** Return what an answer says of a session's turns. */
export function readTranscript(value: unknown): TranscriptPage {
  const page = readFields({ or: { turns: [], nextPageToken: "" } }, value) as unknown as TranscriptPage;
  return { ...page, turns: page.turns.map((turn) => readFields(TURN, turn) as unknown as TranscriptTurn) };
}
