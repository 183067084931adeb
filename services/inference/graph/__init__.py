"""Builds ONNX graphs from checkpoints, with onnx's helpers alone: no torch.

`nodes` is the notation, `weights` reads checkpoints, `lora` merges adapters into them, `layout` arranges
tokens, `bert` writes an encoder, `heads` what stands on top of it, `architectures` knows which encoders there
are, `build` puts a whole file into the cache.
"""
