"""The embedded engine's own listener: a real OpenAI-compatible server, unmodified, in a process of its own.

`python tests/support/engine_listener.py WEIGHTS KEY` prints its base URL and serves until it is ended.
"""

from __future__ import annotations

import sys
import threading

import xllamacpp


def main(weights: str, key: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {"smollm2"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.endpoint_slots = True
    params.n_parallel = 2
    params.n_ctx = 2048 * 2
    params.n_batch = params.n_ubatch = 64
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_gpu_layers = 0
    params.fit_params = False
    params.warmup = False
    params.cache_ram_mib = 0
    params.verbosity = 0
    params.ui = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
