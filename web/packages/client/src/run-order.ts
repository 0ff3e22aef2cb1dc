import type { Environment } from "./environment.ts";
import type { Http } from "./http.ts";
import type { RetryPolicy } from "./retry.ts";
import type { StartRequest } from "./run.ts";

/** What all runs of one client have in common. */
export interface RunContext {
  readonly http: Http;
  readonly environment: Environment;
  readonly retry: RetryPolicy;
  readonly stallMs: number;
}

/** Which run: one that is to be started, or one that is known. */
export type RunOrder =
  | {
      readonly kind: "start";
      readonly request: StartRequest;
      readonly idempotencyKey: string;
      readonly followBusy: boolean;
    }
  | { readonly kind: "follow"; readonly runId: string; readonly after: string | undefined };
