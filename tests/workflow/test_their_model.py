"""One model that somebody else serves, on a real Triton: over gRPC with TLS, and over HTTPS."""

import contextlib
import shutil
import time

import numpy as np
import pandas as pd
import pytest
from gateway import gateway
from their_server import certificates, their_server

from exatrkx_service.analysis.summary import summarise
from exatrkx_service.analysis.timings import check_timings
from exatrkx_service.events.event import PointsWithColumns
from exatrkx_service.measure.load import hash_labels
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.launch import launch

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="makes certificates")
TOKEN = "Bearer s3cret-of-a-gateway"
MODEL = {
    **{"name": "tracks", "input": "FEATURES", "output": "LABELS"},
    **{"features": ["r", "phi", "z"], "scales": [1000, 3.141592653589793, 1000]},
}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Their server; ``settings`` are those of a client that is let in."""
    folder = tmp_path_factory.mktemp("theirs")
    files = certificates(folder / "certificates")
    arguments = [
        *("--grpc-use-ssl=1", "--grpc-use-ssl-mutual=1"),
        *(f"--grpc-server-cert={files / 'server.pem'}", f"--grpc-root-cert={files / 'ca.pem'}"),
        f"--grpc-server-key={files / 'server.key'}",
        # Its trace is for those who ask over gRPC.
        f"--trace-config=triton,file={folder / 'trace.json'}",
        "--http-restricted-api=trace:key=others",
    ]
    with (
        their_server(folder / "server", *arguments) as server,
        gateway(server.urls["http"], files, TOKEN) as gate,
    ):
        server.gate, server.files = gate, files
        server.settings = {
            "launcher": "external",
            "protocol": "grpc",
            "urls": {"grpc": server.urls["grpc"], "http": gate.url},
            "model": MODEL,
            "tls": {
                "ca": str(files / "ca.pem"),
                "certificate": str(files / "client.pem"),
                "key": str(files / "client.key"),
            },
            "headers": {"Authorization": {"env": "GATEWAY_PASS"}},
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GATEWAY_PASS", TOKEN)
            ask(server.settings, patience_s=60)
        yield server


def ask(settings, patience_s=0):
    """Finds their server, as a measuring job does; waits until it is there."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with launch(None, ["tracks"], None, settings, {}) as server:
                return contextlib.nullcontext(server)
        except ServerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.fixture
def let_in(monkeypatch):
    monkeypatch.setenv("GATEWAY_PASS", TOKEN)


@pytest.fixture
def measured(small, theirs, let_in):
    """Measures their model on small events."""

    def run(protocol, concurrency, **model):
        small.config["options"]["theirs"] = {"serve": "model"}
        small.config["measure"]["concurrency"] = concurrency
        small.config["measure"]["clients"] = "threads"
        settings = theirs.settings | {"protocol": protocol, "model": MODEL | model}
        small.config["server"] |= settings
        return small.run("theirs", work="none")

    theirs.gate.n_left = 10**9
    yield run
    theirs.gate.n_left = 10**9


def summary_of(rows, blocks, small):
    reference = small.reference.assign(n_tracks=1)
    settings = {"confidence_level": 0.95, "precision": 0.03, "min_blocks": 2}
    return summarise(rows, blocks, reference, **settings)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_it_is_measured_with_the_control_beside_it(measured, small, theirs, protocol):
    rows, blocks, facts = measured(protocol, [1])
    check_timings(rows, "theirs")
    assert (rows.status == "ok").all()
    own = rows[rows.arm == "option"]
    assert set(own.stage) == {"event", "model"}
    laps = {"total", "serialise", "deserialise", "unattributed"}
    if protocol == "grpc":
        server = {"send", "accept", "queue", "compute_input", "compute_infer", "compute_output"}
        assert set(own.part) == laps | server | {"between_steps", "answer", "receive"}
        assert facts["trace"] == "read"
        with ask(theirs.settings) as found, found.inquiry() as asked:
            settings = str(asked.ask("get_trace_settings", "tracks"))
        assert "OFF" in settings and "TIMESTAMPS" not in settings, "tracing goes on"
    else:
        assert set(own.part) == laps | {"request"}
        assert "restricted" in facts["trace"]
    assert set(rows.stage[rows.arm == "control"]) > {"embedding", "labeling"}
    # What the server says of the model and of the steps behind it.
    assert facts["server"] == "2.51.0" and facts["server_machine"] == "not known"
    assert facts["models"]["tracks"]["backend"] == "ensemble"
    requests = {row["model"]: row["requests"] for row in facts["statistics"]}
    assert set(requests) == {"tracks", "directions", "numbers"}
    # Those that count, and each event once to find the size of a block.
    assert requests["tracks"] == (own.part == "total").sum() + 3
    assert blocks[blocks.arm == "option"].server_cpu_ms.isna().all()
    assert TOKEN not in repr((rows.to_dict(), facts))
    # Points alone and pairs far apart are no tracks, whatever their numbers are.
    summary = summary_of(rows, blocks, small)
    assert summary.same_tracks.tolist() == [1] and summary.n_rejected.tolist() == [0]
    assert summary.reason.tolist() == ["no tracks were found in any event"]


def test_columns_of_files_are_passed_on_as_they_are(measured, small):
    for event, points in small.events.items():
        columns = np.zeros((len(points), 44), np.float32)
        columns[:, 43] = np.arange(len(points))
        small.events[event] = PointsWithColumns(points, columns)
    rows, _, facts = measured("grpc", [1], name="cells", columns=44)
    assert (rows.status == "ok").all() and facts["model"]["datatype"] == "FP64"
    totals = rows[(rows.part == "total") & (rows.arm == "option")]
    # Two points in one cell of theirs are a track; ours are apart.
    found = {event: set(own.labels_sha256) for event, own in totals.groupby("event")}
    assert found == {n: {hash_labels(np.full(n, -1 if n < 2 else 0))} for n in range(3)}


def test_a_server_that_turns_requests_away_is_not_one_that_fails(measured, theirs):
    """Triton itself: this model has room for one request at work and one that waits."""
    rows, blocks, facts = measured("grpc", [1, 4], name="busy")
    totals = rows[rows.part == "total"]
    few, many = (totals[totals.concurrency == c] for c in (1, 4))
    assert set(few.status) == {"ok"} and set(many.status) == {"ok", "rejected"}
    rejected = many[many.status == "rejected"]
    assert set(rejected.arm) == {"option"} and (rejected.labels_sha256 == "").all()
    assert rejected.error.str.contains("Exceeds maximum queue size").all()
    assert (blocks.n_failed == 0).all()
    assert "turned away by the server" in facts["cells"][1]["ended_early"]
    assert not facts["cells"][0]["ended_early"]


def test_the_limit_of_a_gateway_is_told_and_nothing_is_sent_again(measured, small, theirs):
    small.config["measure"]["max_seconds"] = 20
    small.config["measure"]["precision"] = 1e-6
    theirs.gate.n_left = 60
    rows, blocks, _ = measured("http", [2])
    totals = rows[rows.part == "total"]
    rejected = totals[totals.status == "rejected"]
    assert 1 <= len(rejected) <= 2 and set(rejected.error) == {"slow down"}
    assert theirs.gate.n_left == -len(rejected)
    (row,) = summary_of(rows, blocks, small).itertuples()
    assert (row.n_failed, row.n_rejected, row.verdict) == (0, len(rejected), "invalid")
    assert (
        "were turned away by the server, which is its limit and no failure: slow do" in row.reason
    )
    assert pd.isna(row.mean_ms)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"name": "trackz"},
            "server.model.name: trackz: the server at .* is not ready with such a",
        ),
        ({"version": 7}, "server.model.name: tracks: .* not ready with such a model in version 7"),
        ({"input": "x"}, "server.model.input: x: the model tracks has no such tensor; .*FEATURES$"),
        ({"output": "x"}, "server.model.output: x: the model tracks has no such .* LABELS$"),
        (
            {"features": ["r", "z"], "scales": [1, 1]},
            r"server.model.features: .* as FP32 \[-1, 3\], 3 columns; 2 are configured \(r, z\)",
        ),
        (
            {"name": "cells"},
            r"server.model.features: .* as FP64 \[-1, 44\], 44 columns; 3 are configured \(r, phi",
        ),
        (
            {"name": "tracks", "columns": 44},
            r"server.model.features: .* 3 columns; 44 are configured \(server.model.columns\)",
        ),
        (
            {"name": "numbers", "input": "CELLS"},
            r"server.model.input: the model numbers takes CELLS as INT64 \[-1\]; expected float",
        ),
        (
            {"name": "directions", "output": "CELLS", "features": ["r"], "scales": [1]},
            r"server.model.features: the model directions takes FEATURES as FP32 \[-1, 3\], 3 col",
        ),
    ],
)
def test_another_model_than_expected(theirs, let_in, protocol, model, message):
    settings = theirs.settings | {"protocol": protocol, "model": MODEL | model}
    with pytest.raises(ServerError, match=message) as caught:
        ask(settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_who_is_not_let_in_is_told_why(theirs, let_in, monkeypatch, protocol):
    files, own = theirs.files, theirs.settings["tls"]
    other = {"certificate": str(files / "other.pem"), "key": str(files / "other.key")}
    refused = [
        (None, "it speaks TLS, which server.tls is for"),
        ({}, "server.tls.ca: none, so the system's certificates: expected who vouches"),
        ({"ca": str(files / "other.pem")}, f"server.tls.ca: {files}/other.pem: expected who v"),
        ({"ca": own["ca"]}, "server.tls.certificate: none: expected one that the server takes"),
        (own | other, f"server.tls.certificate: {files}/other.pem: expected one that the serv"),
    ]
    for tls, message in refused:
        settings = {k: v for k, v in theirs.settings.items() if k != "tls"}
        settings |= {"protocol": protocol} | ({} if tls is None else {"tls": tls})
        with pytest.raises(ServerError, match=message) as caught:
            ask(settings)
        assert "\n" not in str(caught.value)
    monkeypatch.delenv("GATEWAY_PASS")
    with pytest.raises(ServerError, match=r"Authorization\.env: GATEWAY_PASS is not set"):
        ask(theirs.settings | {"protocol": protocol})


def test_what_a_gateway_repeats_of_a_secret_is_masked(theirs, monkeypatch):
    monkeypatch.setenv("GATEWAY_PASS", "Bearer wr0ng-secret")
    with pytest.raises(ServerError) as caught:
        ask(theirs.settings | {"protocol": "http"})
    text = str(caught.value)
    assert "refuses its client: *** is not known" in text and "wr0ng" not in text


def test_a_server_without_tls(theirs, let_in):
    urls = {"http": theirs.urls["http"]}
    with pytest.raises(ServerError, match=r"server\.tls: expected none, for it does not seem"):
        ask(theirs.settings | {"protocol": "http", "urls": urls})
