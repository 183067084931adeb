"""The router's gRPC services: the wire in, the wire out."""
