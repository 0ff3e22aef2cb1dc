/** What one side puts in and the other awaits, in order. Kept until it is taken, for one reader. */
export class EventQueue<T> {
  readonly #items: T[] = [];
  #waiting: ((result: IteratorResult<T, undefined>) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;
  #ended = false;
  #error: Error | undefined;

  put(item: T): void {
    if (this.#ended) return;
    if (this.#waiting === undefined) this.#items.push(item);
    else this.#answer({ done: false, value: item });
  }

  /** Nothing more comes; with an error, the reader gets it behind what is still to be taken. */
  end(error?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    if (this.#waiting === undefined) return;
    if (error === undefined) this.#answer({ done: true, value: undefined });
    else this.#fail?.(error);
  }

  /** Throw away what was not taken. */
  drop(): void {
    this.#items.length = 0;
    this.#error = undefined;
    this.end();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#items.length > 0) return Promise.resolve({ done: false, value: this.#items.shift() as T });
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) return Promise.reject(error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#waiting = resolve;
      this.#fail = reject;
    });
  }

  #answer(result: IteratorResult<T, undefined>): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(result);
  }
}
