/** Call back. What the callback throws is the page's own fault: it is reported, and the stream goes on. */
export function call<T extends readonly unknown[]>(
  listener: ((...values: T) => void) | undefined,
  ...values: T
): void {
  try {
    listener?.(...values);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
