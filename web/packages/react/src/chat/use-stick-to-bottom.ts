import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

// A reader this near to the end, in pixels, still follows it.
const SLACK_PX = 48;

/** Keep a region at its end while content grows, until the reader scrolls away from it. */
export function useStickToBottom(content: unknown) {
  const region = useRef<HTMLDivElement>(null);
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

  // New content is the reason to scroll
  useLayoutEffect(() => {
    const element = region.current;
    if (stuck && element !== null) element.scrollTop = element.scrollHeight;
  }, [stuck, content]);

  return { region, stuck, stick };
}
