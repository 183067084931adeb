"""`python -m tests.support.echo_service`: a whole service process that runs no models.

Takes the arguments of every service, and before them how its application starts: `serving` says SERVING
at once, `loading` never gets so far, `broken` raises. The unary method answers with the request; a request
that names a path is answered once there is a file. `replica` is a `replicas.Replica` instead.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from services.config import environment

log = logging.getLogger("echo")


def run() -> int:
    """Run the service; return its exit code."""
    environment.prepare_native_libraries()
    # Only now: importing these imports gRPC, which reads its environment once.
    from google.protobuf.wrappers_pb2 import StringValue

    from services.chassis.health import Health
    from services.chassis.main import main
    from services.chassis.process import Application, Surroundings
    from services.config import ConfigurationFile
    from tests.support.handlers import Context, HandlerApplication
    from tests.support.replicas import Replica

    how, *arguments = sys.argv[1:]

    async def answer(request: StringValue, context: Context) -> StringValue:
        del context
        log.info("entered")
        while request.value.startswith("/") and not Path(request.value).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        return request

    async def begin(health: Health) -> None:
        if how == "broken":
            message = "the model is made of cheese"
            raise RuntimeError(message)
        if how == "loading":
            await asyncio.Event().wait()
        await health.set_all(serving=True)

    async def well(call: int) -> None:
        del call

    application: Application = HandlerApplication(unary=answer, begin=begin)
    if how == "replica":
        application = Replica(well)

    def build(surroundings: Surroundings, file: ConfigurationFile) -> Application:
        surroundings.reloader.begin(file, application.reload)
        return application

    return main("embed", build, arguments)


if __name__ == "__main__":
    sys.exit(run())
