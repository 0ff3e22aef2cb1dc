// The service, loaded from the contract itself: there is nothing generated here.

import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const here = dirname(fileURLToPath(import.meta.url));

/** The folder of the contract's protos: this repository's, or that of TOKENWIRE_PROTO. */
const PROTO = resolve(process.env.TOKENWIRE_PROTO ?? join(here, "../../../proto"));

/** How messages look in JavaScript: camelCase, enums as names, 64-bit numbers as text (none is rounded). */
const OPTIONS = { longs: String, enums: String, defaults: true, oneofs: true };

function load(file, includeDirs) {
  if (!existsSync(join(includeDirs[0], file))) {
    throw new Error(`no ${file} in ${includeDirs[0]}: set TOKENWIRE_PROTO to the folder of the contract's protos`);
  }
  return protoLoader.loadSync(file, { ...OPTIONS, includeDirs });
}

let loaded;

/** Returns the contract's package `tokenwire.v1`, read once. */
export function contract() {
  loaded ??= grpc.loadPackageDefinition(load("tokenwire/v1/agent_service.proto", [PROTO])).tokenwire.v1;
  return loaded;
}

/**
 * Opens a client of the core at HOST:PORT.
 *
 * @param {grpc.ChannelCredentials} credentials for TLS or plaintext
 * @param {grpc.Interceptor[]} interceptors around each call
 */
export function connect(core, credentials, interceptors = []) {
  const { AgentService } = contract();
  return new AgentService(core, credentials, {
    interceptors,
    // A peer that vanished without a word is noticed within half a minute.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
    // A client that is made anew connects anew, whatever the pause of the one before.
    "grpc.use_local_subchannel_pool": 1,
  });
}

/** Decoders of google.rpc messages, by full name. */
export function richStatusTypes() {
  return load("google/rpc/rich_status.proto", [join(here, "../proto")]);
}

/**
 * Yields what a server-streaming call receives. Leaving the loop cancels the call.
 *
 * @throws {grpc.ServiceError} The call ended with a status other than OK.
 */
export async function* responses(call) {
  try {
    for await (const response of call) {
      yield response;
    }
  } finally {
    call.cancel();
  }
}

/** Calls a unary method and resolves to its response. */
export function unary(client, method, request) {
  return new Promise((done, failed) => {
    const deadline = Date.now() + 5000;
    client[method](request, { deadline }, (error, response) => (error ? failed(error) : done(response)));
  });
}
