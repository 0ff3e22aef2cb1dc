/** What the page's address says: `?agent=NAME&session=ID`. */
export interface PageAddress {
  /** Who answers; undefined for the server's default. */
  readonly agent: string | undefined;
  /** The conversation that is shown; undefined for a new one. */
  readonly sessionId: string | undefined;
}

export function readAddress(search: string): PageAddress {
  const parameters = new URLSearchParams(search);
  return { agent: valueOf(parameters, "agent"), sessionId: valueOf(parameters, "session") };
}

/** Return the address of a conversation, or of a new one with the same agent. */
export function addressOf(search: string, sessionId: string | undefined): string {
  const parameters = new URLSearchParams(search);
  if (sessionId === undefined) parameters.delete("session");
  else parameters.set("session", sessionId);
  const query = parameters.toString();
  return query === "" ? "./" : `./?${query}`;
}

/** Return the address of a conversation with an agent of its own, or of a new one with that agent. */
export function addressFor({ agent, sessionId }: PageAddress): string {
  const parameters = new URLSearchParams(agent === undefined ? {} : { agent });
  return addressOf(parameters.toString(), sessionId);
}

function valueOf(parameters: URLSearchParams, name: string): string | undefined {
  const value = parameters.get(name)?.trim();
  return value === "" ? undefined : value;
}
