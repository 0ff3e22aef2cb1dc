import { type KeyStorage, store } from "../api-key.ts";

export interface LatencyChoice {
  /** The panel is shown, and runs are asked for with stamps from the next one on. */
  readonly open: boolean;
  /** What the page received when is reported to the server, answer by answer. */
  readonly reports: boolean;
}

const ENTRY = "tokenwire.latency";

/** What the user wants to see of latency: kept in this tab's storage, where there is one. */
export class LatencySwitch {
  readonly #storage: KeyStorage | undefined;
  readonly #listeners = new Set<() => void>();
  #choice: LatencyChoice;

  constructor(storage: KeyStorage | undefined) {
    this.#storage = storage;
    const words = storage?.getItem(ENTRY)?.split(" ") ?? [];
    this.#choice = { open: words.includes("open"), reports: words.includes("reports") };
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getChoice = (): LatencyChoice => this.#choice;

  readonly choose = (choice: Partial<LatencyChoice>): void => {
    this.#choice = { ...this.#choice, ...choice };
    const words = Object.entries(this.#choice).flatMap(([word, isChosen]) => (isChosen ? [word] : []));
    store(this.#storage, ENTRY, words.join(" "));
    for (const listener of this.#listeners) listener();
  };
}
