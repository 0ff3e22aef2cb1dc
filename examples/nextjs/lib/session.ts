import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { cookies, headers } from "next/headers";
import { isUser } from "./users";

const COOKIE = "chat_session";
const LIFETIME_S = 12 * 60 * 60;

/** Next may load this module more than once in a process: pages and routes are bundled apart. */
const shared = globalThis as typeof globalThis & { chatSessionSecret?: string };

/** Without SESSION_SECRET, sessions end with the process. */
function secret(): string {
  return process.env.SESSION_SECRET ?? (shared.chatSessionSecret ??= randomBytes(32).toString("base64url"));
}

/** Return who is signed in: whom the cookie names, if its signature and its time hold. */
export async function currentUser(): Promise<string | undefined> {
  const [name, until, signature] = (await cookies()).get(COOKIE)?.value.split(".") ?? [];
  if (name === undefined || until === undefined || signature === undefined) return undefined;
  const expected = sign(`${name}.${until}`);
  if (
    expected.length !== signature.length ||
    !timingSafeEqual(Buffer.from(expected), Buffer.from(signature))
  ) {
    return undefined;
  }
  const user = Buffer.from(name, "base64url").toString();
  return Date.now() < Number(until) * 1000 && isUser(user) ? user : undefined;
}

/** Sign a user in. To be called in a server action. */
export async function beginSession(user: string): Promise<void> {
  const until = Math.floor(Date.now() / 1000) + LIFETIME_S;
  const signed = `${Buffer.from(user).toString("base64url")}.${until}`;
  (await cookies()).set(COOKIE, `${signed}.${sign(signed)}`, {
    httpOnly: true,
    sameSite: "lax",
    secure: (await headers()).get("x-forwarded-proto") === "https",
    path: "/",
    maxAge: LIFETIME_S,
  });
}

/** Sign out. To be called in a server action. */
export async function endSession(): Promise<void> {
  (await cookies()).delete(COOKIE);
}

function sign(text: string): string {
  return createHmac("sha256", secret()).update(text).digest("base64url");
}
