"""The agent core: runs agents and serves their events over gRPC."""
