"""Runs events through one build of this package; a program of its own, started by ``speed``.

It is run with another checkout's package on the module path, so it calls only what all builds to
compare with have, and leaves out what an older one lacks.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import traceback
from multiprocessing.connection import Connection
from pathlib import Path

import yaml


def _prepare(root, options, work, stack):
    """The pipeline of each option, with the server that it needs."""
    from exatrkx_service.config import load_config

    config = load_config(yaml.safe_load(Path("config/config.yaml").read_text()), str(root))
    pipeline = config["pipeline"]
    from exatrkx_service.pipeline import device

    # All options of a build share one server.
    if own := [name for name in options if "server" in config["options"].get(name, {})]:
        raise ValueError(
            f"speed.options: {own[0]} has a server of its own; expected another option"
        )
    device.settle(pipeline["threads"])  # before torch is imported
    repository = work / "repository"
    ignore = shutil.ignore_patterns("model.pt", "__pycache__")
    shutil.copytree("model_repo", repository, ignore=ignore)
    if "kernels" in pipeline:  # not of builds from before there was something to compile
        from exatrkx_service.compiled import make_kernels
        from exatrkx_service.serving.native import CHOICE, choose_backend

        make_kernels(pipeline["kernels"])
        choose_backend(repository / CHOICE, config["server"]["backend"])
    if importlib.util.find_spec("exatrkx_service.identity"):
        from exatrkx_service.identity import with_networks

        pipeline = with_networks(pipeline)
    from exatrkx_service.client.placement import Placement
    from exatrkx_service.client.remote import Client
    from exatrkx_service.models.export import export_all
    from exatrkx_service.options import Option
    from exatrkx_service.serving.launch import launch

    export_all(Path(pipeline["weights"]), repository, pipeline)
    options = [Option.from_config(name, config["options"][name]) for name in options]
    models = tuple(dict.fromkeys(model for option in options for model in option.models))
    client = None
    if models:
        server = stack.enter_context(
            launch(repository, models, work / "server", config["server"], pipeline)
        )
        client = Client(server.grpc_url, "grpc", 60)
    return {o.name: Placement(o, repository, dict(pipeline)).pipeline(client) for o in options}


def _answer(pipeline, points):
    """Digest of an event's labels, the time of each of its stages [ns], and which were served."""
    from exatrkx_service.pipeline.stopwatch import Stopwatch

    watch = Stopwatch()
    labels = pipeline(points, watch, "speed")["labels"]
    times = {}
    for lap in watch.laps:
        times[lap.stage] = times.get(lap.stage, 0) + lap.duration_ns
    served = {lap.stage for lap in watch.laps if lap.part != "compute"}
    return hashlib.sha256(labels.tobytes()).hexdigest(), times, served


def main():
    """Prepares what the other end orders, and then runs event after event until it closes."""
    orders, answers = Connection(int(sys.argv[1])), Connection(int(sys.argv[2]))
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            pipelines = _prepare(Path.cwd(), orders.recv(), work, stack)
            answers.send(None)
        except Exception as error:
            answers.send(f"{type(error).__name__}: {error}")
            raise
        with contextlib.suppress(EOFError):
            while True:
                option, points = orders.recv()
                answers.send(_answer(pipelines[option], points))


if __name__ == "__main__":
    code = 0
    try:
        main()
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the interpreter's own end may hang in a library
