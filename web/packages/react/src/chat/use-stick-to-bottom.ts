import { useCallback, useEffect, useRef, useState } from "react";

// A reader this near to the end, in pixels, still follows it.
const SLACK_PX = 48;

/** Keep a region at the end of its column while that grows, until the reader scrolls away from it. */
export function useStickToBottom() {
  const region = useRef<HTMLDivElement>(null);
  const column = useRef<HTMLDivElement>(null);
  const [stuck, setStuck] = useState(true);

  const stick = useCallback(() => {
    setStuck(true);
  }, []);

  useEffect(() => {
    const element = region.current;
    if (element === null) return;
    let lastTop = element.scrollTop;
    const look = () => {
      const near = element.scrollHeight - element.scrollTop - element.clientHeight <= SLACK_PX;
      // Only a move upwards is the reader's will: growing content alone never lets go.
      if (near) setStuck(true);
      else if (element.scrollTop < lastTop) setStuck(false);
      lastTop = element.scrollTop;
    };
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      element.removeEventListener("scroll", look);
    };
  }, []);

  useEffect(() => {
    if (stuck) return keepAtEnd(region.current, column.current);
  }, [stuck]);

  return { region, column, stuck, stick };
}

/**
 * Scroll a region to its end now and whenever it or its content has another size; return what stops that.
 *
 * The observer is called when the frame's layout is done, before it is painted: to ask for the height there costs
 * nothing, while in an effect it would have the browser lay out the page once more for each token.
 */
function keepAtEnd(region: HTMLElement | null, content: HTMLElement | null): (() => void) | undefined {
  // Test environments without layout have none.
  if (region === null || content === null || typeof ResizeObserver === "undefined") return undefined;
  const observer = new ResizeObserver(() => {
    region.scrollTop = region.scrollHeight;
  });
  observer.observe(region);
  observer.observe(content);
  return () => {
    observer.disconnect();
  };
}
