"""Owns a server until it is told to stop; run as a program by the tests of the life cycle."""

import sys
import time
from pathlib import Path

import yaml

from exatrkx_service.identity import with_networks
from exatrkx_service.serving.launch import launch
from exatrkx_service.signals import signals_as_exit

file, repository, work = map(Path, sys.argv[1:])
config = yaml.safe_load(file.read_text())
pipeline = config["pipeline"]
pipeline["weights"] = str(file.parents[1] / pipeline["weights"])
with (
    signals_as_exit(),
    launch(repository, ["labeling"], work, config["server"], with_networks(pipeline)) as server,
):
    print(server.process.pid, server.grpc_url, flush=True)
    # In slices, as the jobs wait: the signal may come to a thread of gRPC.
    for _ in range(600):
        time.sleep(0.2)
