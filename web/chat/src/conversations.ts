import { type KeyStorage, store } from "./api-key.ts";

/** A conversation that was begun in this browser. */
export interface Conversation {
  readonly sessionId: string;
  /** What was said first. */
  readonly title: string;
  /** Who answers; undefined for the server's default. */
  readonly agent: string | undefined;
  /** When something was said last, in Unix milliseconds. */
  readonly atMs: number;
}

const ENTRY = "tokenwire.conversations";

/** The conversations that are kept: those in which something was said last. */
export const MAX_CONVERSATIONS = 50;
const MAX_TITLE = 120;

/**
 * The conversations of this browser, newest first.
 *
 * The server lists the runs of a session, and no sessions: so this is a list of what was begun here, and another
 * browser does not see it. The messages are at the server alone.
 *
 * Without a storage (the browser may forbid it) it lives as long as the page.
 */
export class Conversations {
  readonly #storage: KeyStorage | undefined;
  readonly #listeners = new Set<() => void>();
  #list: readonly Conversation[];
  /** The storage has the list; false where there was no room for it. */
  #isStored = true;

  constructor(storage: KeyStorage | undefined) {
    this.#storage = storage;
    this.#list = this.#read() ?? [];
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    if (this.#listeners.size === 0) globalThis.addEventListener("storage", this.#hearTabs);
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) globalThis.removeEventListener("storage", this.#hearTabs);
    };
  };

  readonly getList = (): readonly Conversation[] => this.#list;

  /** Something was said: the conversation is the newest now. It keeps the title that it has. */
  readonly touch = (said: Conversation): void => {
    const list = this.#read() ?? this.#list;
    const { sessionId } = said;
    const title = list.find((known) => known.sessionId === sessionId)?.title ?? titleOf(said.title);
    const others = list.filter((known) => known.sessionId !== sessionId);
    this.#change([{ ...said, title }, ...others].slice(0, MAX_CONVERSATIONS));
  };

  /** Take one off the list. What the server keeps of it stays until it expires there. */
  readonly remove = (sessionId: string): void => {
    const list = this.#read() ?? this.#list;
    this.#change(list.filter((known) => known.sessionId !== sessionId));
  };

  readonly clear = (): void => {
    this.#change([]);
  };

  readonly #hearTabs = ({ key }: StorageEvent): void => {
    // A storage that was cleared as a whole names no key.
    if (key !== ENTRY && key !== null) return;
    this.#isStored = true;
    this.#tell(this.#read() ?? []);
  };

  #read(): readonly Conversation[] | undefined {
    if (this.#storage === undefined || !this.#isStored) return undefined;
    return readList(this.#storage.getItem(ENTRY));
  }

  #change(list: readonly Conversation[]): void {
    this.#isStored = store(this.#storage, ENTRY, list.length === 0 ? undefined : JSON.stringify(list));
    this.#tell(list);
  }

  #tell(list: readonly Conversation[]): void {
    this.#list = list;
    for (const listener of this.#listeners) listener();
  }
}

/** Return the list that was stored; what another version or a user has made of it is passed over. */
function readList(text: string | null): readonly Conversation[] {
  if (text === null) return [];
  try {
    const stored: unknown = JSON.parse(text);
    const entries = Array.isArray(stored) ? stored.flatMap((entry) => readEntry(entry) ?? []) : [];
    const bySession = new Map<string, Conversation>();
    for (const entry of entries) if (!bySession.has(entry.sessionId)) bySession.set(entry.sessionId, entry);
    return [...bySession.values()].slice(0, MAX_CONVERSATIONS);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return [];
  }
}

function readEntry(entry: unknown): Conversation | undefined {
  if (typeof entry !== "object" || entry === null) return undefined;
  const { sessionId, title, agent, atMs } = entry as Record<string, unknown>;
  if (typeof sessionId !== "string" || typeof title !== "string" || typeof atMs !== "number")
    return undefined;
  // A number may be more than a date can be, which throws where it is shown.
  if (Number.isNaN(new Date(atMs).getTime())) return undefined;
  return { sessionId, title, agent: typeof agent === "string" ? agent : undefined, atMs };
}

/** Return the beginning of a message, on one line. A link without words could not be read, nor spoken. */
function titleOf(message: string): string {
  const line = message.replace(/\s+/g, " ").trim();
  if (line === "") return "Untitled";
  return line.length <= MAX_TITLE ? line : `${Array.from(line).slice(0, MAX_TITLE).join("")}…`;
}
