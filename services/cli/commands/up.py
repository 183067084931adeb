"""`inglenook up`: the cluster on this machine, in the foreground."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from services.cli.cluster import Cluster, ClusterFailed
from services.cli.console import Output, table
from services.cli.session import AsJson, ConfigPath, read_configuration

START_SECONDS = 600.0
"""The first start may build graphs, and models may be large."""
CHECK_SECONDS = 0.5

FOREGROUND = ("--drain-seconds", "0", "--log-format", "console")
"""On one machine nobody has to be given time to turn away, and a person reads the logs."""


def up(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Run the whole cluster until Ctrl-C. Logs go to standard error."""
    output = Output(as_json=as_json)
    file = read_configuration(output, config)
    asked = _asked_to_stop()
    try:
        with Cluster(file, arguments=FOREGROUND) as cluster:
            cluster.start_all()
            with output.progress("starting") as tell:
                cluster.wait_until_serving(START_SECONDS, tell, asked.is_set)
            _tell_where(output, cluster)
            while not asked.wait(CHECK_SECONDS):
                cluster.check_alive()
            output.note("stopping")
    except ClusterFailed as error:
        output.fail(str(error))


def _tell_where(output: Output, cluster: Cluster) -> None:
    output.json({"services": [{"name": child.name, "listen": child.listen} for child in cluster.children]})
    made = table("SERVICE", "LISTENS AT")
    for child in cluster.children:
        made.add_row(child.name, child.listen)
    output.show(made, "", "Ctrl-C stops it; `inglenook status` in another terminal shows how it is.")


def _asked_to_stop() -> threading.Event:
    """Return what is set by SIGINT or SIGTERM."""
    asked = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return asked
