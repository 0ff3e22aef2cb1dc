// Who we trust, and who we say we are: TLS, mTLS, and the signed principal.

import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";

const LIFETIME_S = 60;

/**
 * Returns TLS credentials, with our certificate if there is one; without any of the three files, plaintext.
 *
 * @param {{ca?: string, cert?: string, key?: string}} files in PEM
 */
export function credentials({ ca, cert, key }) {
  if (ca === undefined && cert === undefined && key === undefined) return grpc.credentials.createInsecure();
  const read = (file) => (file === undefined ? null : readFileSync(file));
  return grpc.credentials.createSsl(read(ca), read(key), read(cert));
}

/** Returns the key of FILE, or of TOKENWIRE_PRINCIPAL_KEY: never an argument, others can see those. */
export function principalKey(file) {
  const key = file === undefined ? process.env.TOKENWIRE_PRINCIPAL_KEY : readFileSync(file, "utf8");
  return (key ?? "").replace(/[\r\n]+$/, "");
}

/** Returns an interceptor that says in each call on whose behalf it is made. */
export function signing(name, key) {
  return (options, nextCall) =>
    new grpc.InterceptingCall(nextCall(options), {
      start(metadata, listener, next) {
        metadata.set("tokenwire-principal", principalToken(name, key, Math.floor(Date.now() / 1000)));
        next(metadata, listener);
      },
    });
}

/** Returns a JWT (HS256) that proves a principal for a minute from `now`, in seconds. Pure. */
export function principalToken(name, key, now) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: name, aud: "tokenwire-core", iat: now, exp: now + LIFETIME_S };
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}
