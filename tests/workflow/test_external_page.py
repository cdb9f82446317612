"""The commands of docs/external.md: a server that one checkout serves, measured in another."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import pandas as pd
import pytest
import yaml
from gateway import gateway
from their_server import certificates

from exatrkx_service.serving.server import free_ports

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates")
SECRET = "s3cret-of-the-page"
SMOKE = ("--configfile", "config/smoke.yaml")
QUICK = {"concurrency": [1, 2], "min_blocks": 2, "block_s": 0.1, "max_seconds": 0.3}


@pytest.fixture(scope="module")
def page(root):
    """The text, the configuration and the commands of the page: of the server, and of clients."""
    text = (root / "docs" / "external.md").read_text()
    commands = re.findall(r"^snakemake (.*?)(?:\s+#.*)?$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["serve", "theirs", "--configfile"]
    theirs, secrets = map(yaml.safe_load, re.findall("```yaml\n(.*?)```", text, re.DOTALL))
    return theirs, secrets, [shlex.split(command) for command in commands]


@pytest.fixture(scope="module")
def served(copy_of_smoke, page, tmp_path_factory):
    """The first command, at free ports: the URLs."""
    checkout, ports = copy_of_smoke(), free_ports()
    (serve, *_) = page[2]
    serve = [re.sub("{.*}", json.dumps({"ports": ports}), word) for word in serve]
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            checkout.command(*serve, *SMOKE),
            **{"cwd": checkout.folder, "env": checkout.environment},
            **{"stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True},
        )
        try:
            while "To stop it" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            yield {name: f"127.0.0.1:{ports[name]}" for name in ("grpc", "http")}
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
            process.wait(120)
    assert not checkout.servers()


@pytest.fixture(scope="module")
def measured(served, page, copy_of_smoke, tmp_path_factory):
    """The other commands: the first through a gateway with TLS, by clients that are processes."""
    theirs, secrets, (_, only, everything) = page
    checkout = copy_of_smoke()
    assert only[-1] == everything[-1] == "theirs.yaml"
    server = theirs["server"] | {"urls": served}
    checkout.overlay("theirs.yaml", **theirs | {"results": "results/smoke", "server": server})
    checkout.overlay("quick.yaml", measure=QUICK)
    files = certificates(tmp_path_factory.mktemp("page") / "certificates")
    own = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key"}
    assert own.keys() == secrets["server"]["tls"].keys()
    with gateway(served["http"], files, f"Bearer {SECRET}") as gate:
        checkout.overlay(
            "gateway.yaml",
            server=secrets["server"]
            | {"protocol": "http", "urls": {"http": gate.url}}
            | {"tls": {key: str(files / name) for key, name in own.items()}},
            measure={"clients": "processes"},
        )
        through = [*only[:-1], "config/smoke.yaml", only[-1], "quick.yaml", "gateway.yaml"]
        checkout.secret = checkout.run(*through, GATEWAY_PASS=f"Bearer {SECRET}")
        checkout.rows = pd.read_parquet(checkout.folder / TIMINGS)
        checkout.without = checkout.run(*through, "--forcerun", "measure", fails=True)
    whole = [everything[0], "config/smoke.yaml", everything[-1], "quick.yaml"]
    checkout.output = checkout.run(*whole)
    checkout.refused = checkout.run("S3", *whole, fails=True)
    return checkout


TIMINGS = "results/smoke/timings/theirs/round1.parquet"


def test_it_is_measured_through_a_gateway(measured):
    assert (measured.rows.status == "ok").all()
    assert {"model", "event"} <= set(measured.rows.stage)


def test_the_secret_is_nowhere(measured):
    files = [path for path in measured.folder.rglob("*") if path.is_file()]
    assert any(path.name == "round1.json" for path in files)
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in measured.secret + measured.output


def test_without_its_variable_nothing_is_begun(measured):
    expected = "server.headers.authorization.env: GATEWAY_PASS is not set; expected an environ"
    assert expected in measured.without and "Traceback" not in measured.without
    assert "Measuring theirs" not in measured.without


def test_the_page_ends_in_a_figure(measured):
    results = measured.folder / "results" / "smoke"
    summary = pd.read_csv(results / "summary.csv")
    assert set(summary.option) == {"S0", "theirs"}
    theirs = summary[summary.option == "theirs"]
    # It is our own model, so the tracks are those of S0.
    assert (theirs.same_tracks == 1).all() and (theirs.n_failed == 0).all()
    assert (theirs.verdict != "invalid").all() and theirs.server_cpu_ms.isna().all()
    figure = results / "figures" / "comparison.png"
    assert figure.stat().st_mtime >= (results / "summary.csv").stat().st_mtime
    text = (results / "report.html").read_text()
    assert "theirs with 1 client: 100% of the events" in text


def test_its_requests_are_divided_by_the_servers_trace(measured):
    record = json.loads((measured.folder / TIMINGS).with_suffix(".json").read_text())
    assert record["job"]["trace"] == "read"
    rows = pd.read_parquet(measured.folder / TIMINGS)
    own = rows[(rows.arm == "option") & (rows.stage == "model")]
    assert {"send", "queue", "compute_infer", "receive"} <= set(own.part)


def test_what_is_left_out_is_said_once_and_refused_by_name(measured):
    reason = (
        "it needs embedding, building, filtering, gnn, labeling of our model repository; with "
        "server.model, here pipeline, only options with serve: model are measured"
    )
    assert measured.output.count(f"S3 is left out: {reason}") == 1
    assert f"options.S3: {reason}" in measured.refused
