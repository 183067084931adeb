"""Library: what any gRPC process of the cluster needs. It knows no model and no message of ours."""
