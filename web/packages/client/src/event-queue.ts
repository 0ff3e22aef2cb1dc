/** What one side puts in and the other awaits, in order. Kept until it is taken, for one reader. */
export class EventQueue<T> {
  readonly #items: T[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #error: Error | undefined;

  put(item: T): void {
    if (this.#ended) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** Nothing more comes; with an error, the reader gets it behind what is still to be taken. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Throw away what was not taken. */
  drop(): void {
    this.#items.length = 0;
    this.#error = undefined;
    this.end();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    while (this.#items.length === 0) {
      const error = this.#error;
      this.#error = undefined;
      if (error !== undefined) throw error;
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return { done: false, value: this.#items.shift() as T };
  }
}
