"""`python -m services.chat`."""

import sys

from services.config import environment


def run() -> int:
    """Run the service; return its exit code."""
    environment.prepare_native_libraries()
    # Only now: importing these imports gRPC, which reads its environment once.
    from services.chassis.main import main
    from services.chat.app import build

    return main("chat", build, keys=True)


if __name__ == "__main__":
    sys.exit(run())
