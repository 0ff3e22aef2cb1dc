"""The gRPC rim: services, responses, checks of requests, authentication."""
