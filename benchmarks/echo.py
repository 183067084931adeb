"""A bare gRPC server: the least that any answer can cost.

`python -m benchmarks.echo --listen HOST:PORT --bytes N` answers every Embed with the same N bytes, without a
line of ours around it: no interceptor, no parsing, one event loop on uvloop, as our services have it.
"""

from __future__ import annotations

import argparse
from typing import TypeAlias

from services.config import environment

environment.prepare_native_libraries()

# Only now: gRPC reads its environment once, when it is imported.
import grpc  # noqa: E402
import uvloop  # noqa: E402

from benchmarks.load import PATHS  # noqa: E402

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"


async def serve(listen: str, size: int) -> None:
    """Answer until the process is ended."""
    answer = bytes(size)

    async def echo(request: bytes, context: object) -> bytes:
        del request, context
        return answer

    service, _, method = PATHS["embed"].removeprefix("/").rpartition("/")
    handler: Handler = grpc.unary_unary_rpc_method_handler(echo)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(listen)
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port")
    parser.add_argument("--bytes", type=int, required=True, help="size of every answer")
    options = parser.parse_args()
    uvloop.run(serve(options.listen, options.bytes))


if __name__ == "__main__":
    main()
