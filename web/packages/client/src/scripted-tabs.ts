/** Several tabs of one browser, for tests: real channels, locks of our own where there are none. */
import type { Tabs } from "./tabs.ts";

type Grant = (lock: Lock | null) => unknown;
interface Waiting {
  readonly callback: Grant;
  readonly resolve: (value: unknown) => void;
}

/** What Web Locks do, as far as tabs use it: one holder a name, the others wait in line. */
class ScriptedLocks {
  readonly #held = new Set<string>();
  readonly #lines = new Map<string, Waiting[]>();

  readonly request = (name: string, options: LockOptions, callback: Grant): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const isFree = !this.#held.has(name);
      if (isFree) this.#hold(name, { callback, resolve });
      else if (options.ifAvailable === true) resolve(Promise.resolve().then(() => callback(null)));
      else this.#wait(name, { callback, resolve }, options.signal, reject);
    });

  #hold(name: string, { callback, resolve }: Waiting): void {
    this.#held.add(name);
    const holding = Promise.resolve().then(() => callback({ name, mode: "exclusive" }));
    resolve(holding);
    void holding.finally(() => {
      this.#held.delete(name);
      const next = this.#lines.get(name)?.shift();
      if (next !== undefined) this.#hold(name, next);
    });
  }

  #wait(
    name: string,
    waiting: Waiting,
    signal: AbortSignal | undefined,
    reject: (why: unknown) => void,
  ): void {
    const line = this.#lines.get(name) ?? [];
    this.#lines.set(name, line);
    line.push(waiting);
    signal?.addEventListener("abort", () => {
      if (line.includes(waiting)) line.splice(line.indexOf(waiting), 1);
      reject(signal.reason);
    });
  }
}

/** One browser. `open` counts the channels that are open. */
export class ScriptedTabs implements Tabs {
  readonly locks = new ScriptedLocks() as unknown as Tabs["locks"];
  readonly open = new Set<BroadcastChannel>();
  // Node has one world of channels: each browser of a test has names of its own.
  readonly #world = crypto.randomUUID();

  readonly openChannel = (name: string): BroadcastChannel => {
    const channel = new BroadcastChannel(`${this.#world}:${name}`);
    const close = channel.close.bind(channel);
    channel.close = () => {
      this.open.delete(channel);
      close();
    };
    this.open.add(channel);
    return channel;
  };
}
