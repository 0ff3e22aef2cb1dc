"""The way to the cores: the only modules that import grpc."""
