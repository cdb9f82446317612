"""Owns a server until it is told to stop; run as a program by the tests of the life cycle."""

import sys
import time
from pathlib import Path

import yaml

from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.process import sigterm_as_exit

config = yaml.safe_load(Path(sys.argv[1]).read_text())
with (
    sigterm_as_exit(),
    launch(
        Path(sys.argv[2]), ["labeling"], Path(sys.argv[3]), config["server"], config["pipeline"]
    ) as server,
):
    print(server.process.pid, server.grpc_url, flush=True)
    # In slices, as the jobs wait: the signal may come to a thread of gRPC.
    for _ in range(600):
        time.sleep(0.2)
