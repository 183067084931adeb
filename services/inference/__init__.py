"""Library: models, from artifacts to answers. It knows no gRPC, no protobuf and no metrics system."""
