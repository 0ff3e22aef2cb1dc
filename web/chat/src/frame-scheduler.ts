// A tab in the background gets no animation frames: then this bounds how stale it becomes.
const HIDDEN_TAB_MS = 250;

/** Call back once, before the next paint, or soon when the tab is not painted at all. */
export function onNextFrame(callback: () => void): void {
  let called = false;
  const once = () => {
    if (called) return;
    called = true;
    cancelAnimationFrame(frame);
    clearTimeout(timer);
    callback();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, HIDDEN_TAB_MS);
}
