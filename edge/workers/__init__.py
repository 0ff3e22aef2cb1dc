"""Several processes behind one port: `TOKENWIRE_WORKERS`, `edge --workers N`.

Each worker is a whole edge in an interpreter of its own: one event loop, its own links to the cores, its own
telemetry and limits. A supervisor, which imports none of that, opens the port, starts the workers, and starts
again what died.

The port is N sockets with SO_REUSEPORT, one for each worker. The kernel spreads connections over them by a
hash of their addresses: of 500 streams, each of two workers had 231 to 269, whatever else it did. With one
socket that all inherit, connections go to whoever wakes up first: one of two workers got 9 to 174 of 500
while it had something else to do, and long streams stay where they began (measured with uvloop on Linux).
"""
