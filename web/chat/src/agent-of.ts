/** Return the agent that a page's address asks for: `?agent=NAME`; undefined for the server's default. */
export function agentOf(search: string): string | undefined {
  const name = new URLSearchParams(search).get("agent")?.trim();
  return name === "" ? undefined : name;
}
