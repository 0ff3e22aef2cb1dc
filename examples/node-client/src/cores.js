// Cores at several addresses that serve the same runs. One of them is connected to at a time.

import grpc from "@grpc/grpc-js";
import { connect } from "./service.js";

const { IDLE, CONNECTING, READY } = grpc.connectivityState;
const CONNECT_TIMEOUT_MS = 5000;

export class Cores {
  #addresses;
  #open;
  #tried = 0;
  #client;
  #reached = false;

  /**
   * @param {string[]} addresses HOST:PORT each
   * @param {grpc.ChannelCredentials} credentials for TLS or plaintext
   * @param {grpc.Interceptor[]} interceptors around each call
   */
  constructor(addresses, credentials, interceptors = []) {
    this.#addresses = addresses;
    this.#open = (address) => connect(address, credentials, interceptors);
  }

  /** How many there are. */
  get count() {
    return this.#addresses.length;
  }

  /** Whether every address was tried, and none has answered. */
  get areOutOfReach() {
    return !this.#reached && this.#tried + 1 >= this.count;
  }

  /** Resolves to a client of the present core, once it is connected or has failed to: then the first call says why. */
  async client() {
    this.#client ??= this.#open(this.#addresses[this.#tried % this.count]);
    const client = this.#client;
    if (await isReady(client.getChannel())) this.#reached = true;
    return client;
  }

  /** Leaves the present core for the one that is next in turn, with a connection of its own. */
  next() {
    this.close();
    this.#tried += 1;
  }

  close() {
    this.#client?.close();
    this.#client = undefined;
  }
}

async function isReady(channel) {
  const deadline = Date.now() + CONNECT_TIMEOUT_MS;
  let state = channel.getConnectivityState(true);
  while (state === IDLE || state === CONNECTING) {
    const changed = await new Promise((done) => channel.watchConnectivityState(state, deadline, (error) => done(!error)));
    if (!changed) return false;
    state = channel.getConnectivityState(true);
  }
  return state === READY;
}
