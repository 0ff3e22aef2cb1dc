import type { Failure, RunState } from "@tokenwire/client";
import type { ReactNode } from "react";

/** What a host page may change of a turn. */
export interface TurnOptions {
  /** Level of the messages' headings, 1 to 4; those within answers are below it. Default 2. */
  readonly headingLevel?: number | undefined;
  /** The name above answers. Default: the agent's. */
  readonly agentName?: string | undefined;
  /** What stands under an answer that has ended. */
  readonly renderFooter?: ((run: RunState) => ReactNode) | undefined;
  /** Words in place of the error card, for a failure that the page deals with itself; undefined for the card. */
  readonly describeFailure?: ((failure: Failure) => string | undefined) | undefined;
}
