"""How long each token took, hop by hop: stamps, gaps, stalls, segments. Pure: no clock, no I/O.

A token's way has stages, at which stamps are taken, and a hop between each stage and the one before:

    stage   model        logged        send         recv         write         browser
            agent        log has       core gave    edge         the socket    the page
            yielded it   accepted it   it to gRPC   parsed it    took it       parsed it
    hop     model        log           send         link         write         browser

A hop ends at its stage. The time of the hop `model` is the gap to the token before.
"""

from tokenwire.latency.stages import HOPS, STAGES, Hop, Stage

__all__ = ["HOPS", "STAGES", "Hop", "Stage"]
