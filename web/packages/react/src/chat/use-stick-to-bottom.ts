import { useCallback, useEffect, useRef, useState } from "react";

// A reader who comes back this near to the end, in pixels, follows it again.
const SLACK_PX = 48;
// Heights are rounded, positions are not: at the end there may be this much left.
const ROUNDING_PX = 1;

/** Keep a region at the end of its column while that grows, until the reader scrolls away from it. */
export function useStickToBottom() {
  const region = useRef<HTMLDivElement>(null);
  const column = useRef<HTMLDivElement>(null);
  const lastTop = useRef(0);
  // The same as `stuck`, at once: content may grow between the reader's move and the next rendering.
  const follows = useRef(true);
  const [stuck, setStuck] = useState(true);

  const follow = useCallback((wanted: boolean) => {
    follows.current = wanted;
    setStuck(wanted);
  }, []);
  const stick = useCallback(() => {
    follow(true);
  }, [follow]);

  useEffect(() => {
    const element = region.current;
    if (element === null) return;
    const look = () => {
      const { scrollTop } = element;
      const left = element.scrollHeight - scrollTop - element.clientHeight;
      // Only a move upwards is the reader's will, even one line by an arrow key. Growing content alone never
      // lets go, and behind content that shrank the region is at its end.
      if (scrollTop < lastTop.current && left > ROUNDING_PX) follow(false);
      else if (left <= SLACK_PX) follow(true);
      lastTop.current = scrollTop;
    };
    element.addEventListener("scroll", look, { passive: true });
    return () => {
      element.removeEventListener("scroll", look);
    };
  }, [follow]);

  useEffect(() => {
    if (!stuck) return;
    return onResize(region.current, column.current, (element) => {
      if (!follows.current) return;
      element.scrollTop = element.scrollHeight;
      lastTop.current = element.scrollTop;
    });
  }, [stuck]);

  return { region, column, stuck, stick };
}

/**
 * Call a function now and whenever a region or its content has another size; return what stops that.
 *
 * The observer is called when the frame's layout is done, before it is painted: to ask for the height there costs
 * nothing, while in an effect it would have the browser lay out the page once more for each token.
 */
function onResize(
  region: HTMLElement | null,
  content: HTMLElement | null,
  call: (region: HTMLElement) => void,
): (() => void) | undefined {
  // Test environments without layout have none.
  if (region === null || content === null || typeof ResizeObserver === "undefined") return undefined;
  const observer = new ResizeObserver(() => {
    call(region);
  });
  observer.observe(region);
  observer.observe(content);
  return () => {
    observer.disconnect();
  };
}
