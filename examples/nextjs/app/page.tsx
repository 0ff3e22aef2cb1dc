import { randomUUID } from "node:crypto";
import { redirect } from "next/navigation";
import { currentUser } from "@/lib/session";
import { Chat } from "./chat";

interface PageProps {
  readonly searchParams: Promise<Record<string, string | string[] | undefined>>;
}

/** The conversation that the address names, `/?session=ID&agent=NAME`: a reload and a second tab go on with it. */
export default async function Page({ searchParams }: PageProps) {
  const { session, agent } = await searchParams;
  const user = await currentUser();
  const query = new URLSearchParams(typeof agent === "string" ? { agent } : {});
  if (typeof session === "string") query.set("session", session);
  if (user === undefined) redirect(`/sign-in?${query.toString()}`);
  if (typeof session !== "string") {
    query.set("session", randomUUID());
    redirect(`/?${query.toString()}`);
  }
  return (
    <Chat
      key={session}
      user={user}
      sessionId={session}
      agent={typeof agent === "string" ? agent : undefined}
    />
  );
}
