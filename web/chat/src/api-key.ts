import type { Failure } from "@tokenwire/client";

export interface KeyState {
  /** There is a key that has not been refused. */
  readonly held: boolean;
  /** Why the user is asked for a key, if at all: none was sent, or the one that was sent is wrong. */
  readonly wanted: "missing" | "wrong" | undefined;
}

export type KeyStorage = Pick<Storage, "getItem" | "setItem" | "removeItem">;

const ENTRY = "tokenwire.api-key";

/**
 * The user's API key: kept in this tab's storage and sent as a header, nowhere else.
 *
 * Without a storage (the browser may forbid it), or room in it, it lives as long as the page.
 */
export class ApiKey {
  readonly #storage: KeyStorage | undefined;
  readonly #listeners = new Set<() => void>();
  #key: string | undefined;
  #state: KeyState;

  constructor(storage: KeyStorage | undefined) {
    this.#storage = storage;
    this.#key = storage?.getItem(ENTRY) ?? undefined;
    this.#state = { held: this.#key !== undefined, wanted: undefined };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getState = (): KeyState => this.#state;

  /** Return the headers of a request to the API. */
  readonly headers = (): Record<string, string> =>
    this.#key === undefined ? {} : { Authorization: `Bearer ${this.#key}` };

  readonly use = (key: string): void => {
    this.#keep(key);
    this.#change({ held: true, wanted: undefined });
  };

  readonly forget = (): void => {
    this.#keep(undefined);
    this.#change({ held: false, wanted: this.#state.wanted });
  };

  /** The server wants another key, or one at all. */
  readonly refuse = (): void => {
    const wanted = this.#state.held ? "wrong" : "missing";
    this.#keep(undefined);
    this.#change({ held: false, wanted });
  };

  #keep(key: string | undefined): void {
    this.#key = key;
    store(this.#storage, ENTRY, key);
  }

  #change(state: KeyState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }
}

/** Return the tab's or the browser's storage, or undefined where it is forbidden to look at it. */
export function browserStorage(name: "localStorage" | "sessionStorage"): KeyStorage | undefined {
  try {
    // An Android WebView without DOM storage has null here.
    const { [name]: storage } = window as Record<typeof name, Storage | null>;
    return storage ?? undefined;
  } catch {
    return undefined;
  }
}

/** Store a text, or that there is none; return false where there is no room for it: then all is as it was. */
export function store(storage: KeyStorage | undefined, entry: string, text: string | undefined): boolean {
  try {
    if (text === undefined) storage?.removeItem(entry);
    else storage?.setItem(entry, text);
    return true;
  } catch (error) {
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/**
 * Return whether a text can be sent as a key.
 *
 * Source: https://www.rfc-editor.org/rfc/rfc6750#section-2.1 (wider: any visible ASCII)
 */
export function isKey(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

/** Return whether a request was refused for want of a (good) key. An agent that fails by itself was not. */
export function wantsKey(failure: Failure): boolean {
  return failure.status === 401;
}
