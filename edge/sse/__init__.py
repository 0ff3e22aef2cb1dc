"""The sans-I/O heart of the edge: protobuf events in, SSE bytes out."""
