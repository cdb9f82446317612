"""The server on one node, its clients on another, with a link between them that has a delay."""

import json
import time

import pandas as pd
import psutil
from network import namespace, pids
from runs import (
    PROFILE,
    SMOKE,
    Run,
    accounted,
    assert_nothing_left,
    running_measurements,
    segments,
    servers,
)

TWO_NODES = ("--set-resources", "measure:nodes=2", "measure:tasks=2")


def overlay(checkout, **measure):
    return checkout.overlay("other.yaml", server={"node": "other"}, measure=measure)


def folder(checkout, option="S5"):
    return checkout.folder / "results" / "smoke" / "timings" / option


def test_the_delay_of_the_link_is_in_both_ways(cluster, on_slurm):
    near = pd.read_parquet(folder(on_slurm, "S3") / "round1.parquet")
    output = on_slurm.run(*PROFILE, "S3", *SMOKE, overlay(on_slurm), *TWO_NODES)
    (nodes,) = accounted(output).node
    assert nodes == "n[1-2]"
    far = pd.read_parquet(folder(on_slurm, "S3") / "round1.parquet")
    assert (far.status == "ok").all() and far.event.nunique() == 5
    blocks = pd.read_parquet(folder(on_slurm, "S3") / "round1.blocks.parquet")
    assert blocks.server_cpu_ms.isna().all(), "the server is on another node"
    assert (blocks.client_cpu_ms > 0).all()
    near, far = (rows[rows.arm == "option"] for rows in (near, far))
    delay_ns = cluster.delay_ms * 1e6
    for part in ("send", "receive"):  # half of both ways each
        assert far[far.part == part].duration_ns.min() >= delay_ns
        assert near[near.part == part].duration_ns.min() < delay_ns
    sample = ["concurrency", "block", "repetition", "event"]
    total = far[far.part == "total"].groupby(sample).duration_ns.sum()
    parts = far[far.part != "total"].groupby(sample).duration_ns.sum()
    assert (total == parts).all() and far.duration_ns.min() >= 0
    hashes = [
        rows[rows.part == "total"].groupby("event").labels_sha256.unique().map(set)
        for rows in (near, far)
    ]
    assert hashes[0].to_dict() == hashes[1].to_dict()
    assert not list(folder(on_slurm, "S3").glob("exatrkx-server-*")), "left its folder"


def find_endpoint(checkout):
    deadline = time.monotonic() + 120
    while not (found := list(folder(checkout).glob("exatrkx-server-*/endpoint.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found[0]


def start(checkout):
    """A long measurement; gives the run, when the server has published where it is."""
    long = overlay(checkout, max_seconds=1000, precision=1e-6)
    run = Run(checkout, "S5", "--forcerun", "measure", *SMOKE, long, *TWO_NODES)
    run.wait_for_measuring()
    return run, find_endpoint(checkout)


def test_the_server_ends_with_its_clients(cluster, on_slurm):
    run, endpoint = start(on_slurm)
    content = json.loads(endpoint.read_text())
    assert endpoint.stat().st_mode & 0o077 == 0, "others can read the token"
    assert content["host"] in cluster.nodes and len(content["token"]) == 32
    memory = segments()
    on_server = {process.pid for process in servers()}
    assert on_server <= set(pids(namespace(content["host"])))
    (clients,) = [
        process
        for node in cluster.nodes
        if node != content["host"]
        for process in map(psutil.Process, pids(namespace(node)))
        if process.name().startswith("python") and ".measure.py" in " ".join(process.cmdline())
    ]
    clients.kill()
    code, output = run.end()
    assert code != 0 and "SLURM status is: 'FAILED'" in output
    assert_nothing_left(memory)


def test_the_clients_end_with_their_server(cluster, on_slurm):
    run, _ = start(on_slurm)
    memory = segments()
    next(process for process in servers() if process.name() == "tritonserver").kill()
    code, _ = run.end()
    assert code != 0
    log = on_slurm.folder / "results/smoke/logs/measure/S5_round1.log"
    assert "ServerError: the server ended with code" in log.read_text()
    assert_nothing_left(memory)


def test_one_node_is_not_enough(cluster, on_slurm):
    output = on_slurm.run(
        *PROFILE, "S5", "--forcerun", "measure", *SMOKE, overlay(on_slurm), fails=True
    )
    (job,) = accounted(output).id
    (log,) = on_slurm.folder.glob(f".snakemake/slurm_logs/**/{job}.log")
    assert (
        "this job has one node" in log.read_text()
        and "`nodes: 2` and `tasks: 2`" in log.read_text()
    )
    assert not running_measurements()
