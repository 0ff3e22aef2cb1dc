// When a call that failed is made again. Pure.

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1000;

/** What the transport reports of a connection that broke or was reset, or a proxy of one without a backend. */
const MAY_PASS = new Set(["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"]);

/**
 * Tells whether a call would fail again. A core's own refusal stands unless it says when to come back (RetryInfo).
 *
 * @param {import("./status.js").Failure} failure
 */
export function isFinal({ code, own, retryAfterMs }) {
  return own ? retryAfterMs === undefined : !MAY_PASS.has(code);
}

/**
 * Returns how long to wait before a try, in milliseconds.
 *
 * @param {number} tries without contact so far
 * @param {number} chance 0 to 1: spreads the clients of a core that has died over half of the pause
 */
export function pauseBefore(tries, chance) {
  const pause = Math.min(FIRST_PAUSE_MS * 2 ** tries, LONGEST_PAUSE_MS);
  return pause - (chance * pause) / 2;
}
