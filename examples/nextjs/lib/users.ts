import { createHash, timingSafeEqual } from "node:crypto";

/** Who may sign in. Your product's own accounts stand here, or those of your identity provider. */
interface Account {
  readonly password: string;
  /** The user's API key at the edge, or a JWT: it stays on this server. */
  readonly apiKey?: string;
}

/**
 * Return the accounts of CHAT_USERS, `NAME:PASSWORD:KEY` with commas between; without it, demo.
 *
 * The user demo has no key. An edge without authentication takes that, and only listens on loopback.
 */
function accounts(): ReadonlyMap<string, Account> {
  const listed = process.env.CHAT_USERS;
  if (listed === undefined) return new Map([["demo", { password: "demo" }]]);
  return new Map(
    listed.split(",").map((entry) => {
      const [name = "", password = "", apiKey = ""] = entry.trim().split(":");
      if (name === "" || password === "" || apiKey === "") {
        throw new Error("CHAT_USERS must be NAME:PASSWORD:KEY, with commas between several.");
      }
      return [name, { password, apiKey }];
    }),
  );
}

/** Return whether somebody with that name may sign in with that password. */
export function mayEnter(name: string, password: string): boolean {
  const account = accounts().get(name);
  // Compared in any case, and in constant time: what it takes must not tell which names there are.
  const matches = timingSafeEqual(digest(password), digest(account?.password ?? ""));
  return account !== undefined && matches;
}

/** Return whether the account is still there. */
export function isUser(name: string): boolean {
  return accounts().has(name);
}

/** Return the header that lets a user's requests in at the edge; undefined where it lets in everybody. */
export function authorizationOf(name: string): string | undefined {
  const apiKey = accounts().get(name)?.apiKey;
  return apiKey === undefined ? undefined : `Bearer ${apiKey}`;
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
