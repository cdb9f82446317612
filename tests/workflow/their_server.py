"""A real Triton that serves somebody else's models, and certificates for it."""

import contextlib
import os
import subprocess
from types import SimpleNamespace

from exatrkx_service.environment import library_variables
from exatrkx_service.serving import embedded
from exatrkx_service.serving.process import guarded_process
from exatrkx_service.serving.server import free_ports

# An ensemble from features to labels, as they are found elsewhere: points in a similar direction
# are a track. Its second step waits where it is told to, and has room for one waiting request.
ENSEMBLE = """
name: "tracks"
platform: "ensemble"
input { name: "FEATURES" data_type: TYPE_FP32 dims: [ -1, 3 ] }
output { name: "LABELS" data_type: TYPE_INT32 dims: [ -1 ] }
ensemble_scheduling {
  step { model_name: "directions" model_version: -1
    input_map { key: "FEATURES" value: "FEATURES" } output_map { key: "CELLS" value: "CELLS" } }
  step { model_name: "numbers" model_version: -1
    input_map { key: "CELLS" value: "CELLS" } output_map { key: "LABELS" value: "LABELS" } }
}
"""
DIRECTIONS = """
backend: "python"
input { name: "FEATURES" data_type: TYPE_FP32 dims: [ -1, 3 ] }
output { name: "CELLS" data_type: TYPE_INT64 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
NUMBERS = """
backend: "python"
input { name: "CELLS" data_type: TYPE_INT64 dims: [ -1 ] }
output { name: "LABELS" data_type: TYPE_INT32 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
# Takes one request at a time and lets one wait; turns others away.
BUSY = """
backend: "python"
max_batch_size: 1
input { name: "FEATURES" data_type: TYPE_FP32 dims: [ -1, 3 ] }
output { name: "LABELS" data_type: TYPE_INT64 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
dynamic_batching { default_queue_policy { max_queue_size: 1 } }
"""
CELLS = """
backend: "python"
input { name: "FEATURES" data_type: TYPE_FP64 dims: [ -1, 44 ] }
output { name: "LABELS" data_type: TYPE_INT64 dims: [ -1, 1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
MODEL = """
import time
import numpy as np
import triton_python_backend_utils as triton

class TritonPythonModel:
    def execute(self, requests):
        return [triton.InferenceResponse([triton.Tensor(*self.answer(r))]) for r in requests]

    def answer(self, request):
        array = request.inputs()[0].as_numpy()
"""
CODE = {
    "directions": """
        r, phi, z = array.T * np.array([[1000], [np.pi], [1000]])
        cells = np.round(np.arcsinh(z / np.maximum(r, 1)) * 20) * 1000 + np.round(phi * 20)
        return "CELLS", cells.astype(np.int64)
""",
    "numbers": """
        return "LABELS", np.unique(array, return_inverse=True)[1].astype(np.int32)
""",
    # Pairs, as the last of 44 columns says: what is no function of space points.
    "cells": """
        return "LABELS", array[:, 43:].astype(np.int64) // 2
""",
    "busy": """
        time.sleep(0.01)
        return "LABELS", np.zeros(array.shape[:2], np.int64)
""",
}
CONFIGS = {"tracks": ENSEMBLE, "directions": DIRECTIONS, "numbers": NUMBERS}
CONFIGS |= {"busy": BUSY, "cells": CELLS}


def write_models(folder):
    """Their model repository."""
    for name, config in CONFIGS.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
        if name in CODE:
            (version / "model.py").write_text(MODEL + CODE[name])


@contextlib.contextmanager
def their_server(folder, *arguments):
    """Runs it in a folder that does not exist yet; gives its URLs."""
    write_models(folder / "models")
    program = embedded.prepare(folder, None)
    ports = free_ports()
    where = [f"--{name}-port={port}" for name, port in ports.items()]
    where += [f"--{name}-address=127.0.0.1" for name in ports]
    region = f"theirs_{os.getpid()}_{ports['grpc']}_"
    command = [*program, f"--model-repository={folder / 'models'}", *where, *arguments]
    command.append(f"--backend-config=python,shm-region-prefix-name={region}")
    environment = embedded.environment(library_variables(1))
    log = folder / "server.log"
    with guarded_process(
        command, environment, log, region=region, work=folder, stop_timeout_s=20
    ) as process:
        yield SimpleNamespace(
            urls={name: f"127.0.0.1:{ports[name]}" for name in ("grpc", "http")},
            process=process,
            log=log,
        )


def certificates(folder):
    """Files ``ca``, ``server``, ``client`` and ``other`` (another CA), each with its key."""
    folder.mkdir()

    def openssl(*arguments):
        command = ["openssl", *map(str, arguments)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    for name in ("ca", "other"):
        new = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key")
        openssl("req", "-x509", "-subj", f"/CN={name}", "-days", 2, *new, "-out", f"{name}.pem")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    for name in ("server", "client"):
        new = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key")
        openssl("req", "-subj", f"/CN={name}", *new, "-out", f"{name}.csr")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-days", 2, "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")
    return folder
