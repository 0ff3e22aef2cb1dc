import type { Client } from "@tokenwire/client";
import { createContext } from "react";

/**
 * The client of all hooks and chats below: `<AgentClientContext value={client}>`.
 *
 * Without one they share `createClient()`, which asks `/api` on the page's own origin.
 */
export const AgentClientContext = createContext<Client | undefined>(undefined);
