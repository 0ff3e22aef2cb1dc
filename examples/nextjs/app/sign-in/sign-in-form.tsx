"use client";

import { useActionState } from "react";
import { signIn } from "./actions";

export function SignInForm({ query }: { readonly query: string }) {
  const [refusal, submit, isPending] = useActionState(signIn, "");
  return (
    <form action={submit}>
      <main className="sign-in">
        <h1>Sign in</h1>
        <label>
          Name
          <input name="name" autoComplete="username" required autoFocus />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <input type="hidden" name="query" value={query} />
        <p role="alert">{refusal}</p>
        <button disabled={isPending}>Sign in</button>
      </main>
    </form>
  );
}
