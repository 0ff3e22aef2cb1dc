"use server";

import { redirect } from "next/navigation";
import { beginSession, endSession } from "@/lib/session";
import { mayEnter } from "@/lib/users";

/** Sign in and go to the conversation, or return why not. Next refuses forms of other sites' pages. */
export async function signIn(_before: string, form: FormData): Promise<string> {
  const name = text(form, "name");
  if (!mayEnter(name, text(form, "password"))) return "The name or the password is wrong.";
  await beginSession(name);
  redirect(`/?${new URLSearchParams(text(form, "query")).toString()}`);
}

export async function signOut(): Promise<void> {
  await endSession();
  redirect("/sign-in");
}

function text(form: FormData, field: string): string {
  const value = form.get(field);
  return typeof value === "string" ? value : "";
}
