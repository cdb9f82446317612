"""Events from elsewhere, measured as generated ones are; the events are those of the smoke run."""

import gzip
import json
import math
import re
import shlex
from typing import Final

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.export import Dim

from exatrkx_service.events.files import event_file
from exatrkx_service.events.reader import read_event
from exatrkx_service.identity import file_sha256

N_EVENTS = 5
SCALES = np.array([1000, np.pi, 1000])
QUICK = {"concurrency": [1], "min_blocks": 2, "block_s": 0.1, "max_seconds": 0.3}
SMOKE = ("--configfile", "config/smoke.yaml")
OPTIONS = [f"S{i}" for i in range(6)]


@pytest.fixture(scope="module")
def events(first_smoke):
    folder = first_smoke.folder / "results" / "smoke" / "events" / "benchmark"
    return [read_event(folder, number) for number in range(N_EVENTS)]


@pytest.fixture(scope="module")
def acts(first_smoke, tmp_path_factory):
    """The generated CSV files, without the manifests and the list of the HNL's decay products."""
    folder = tmp_path_factory.mktemp("acts")
    for file in (first_smoke.folder / "results/smoke/events/benchmark").glob("*.csv"):
        if not file.stem.endswith("-hnl"):
            # Some compressed, as people keep them.
            if file.name.startswith("event000000001"):
                (folder / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
            else:
                (folder / file.name).write_bytes(file.read_bytes())
    return folder


def given(source, folder, **others):
    section = json.dumps({"source": source, "path": str(folder), **others})
    return ("--config", f"results=results/{source}", f"events={section}")


class Straight(nn.Module):
    """A GNN as others save it on a GPU: points in a similar direction belong together."""

    device: Final[str] = "cuda:0"

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        r, phi, z = x[:, 0], x[:, 1] * math.pi, x[:, 2]
        direction = torch.stack([torch.cos(phi), torch.sin(phi), torch.asinh(z / r)], dim=1)
        apart = (direction[edge_index[0]] - direction[edge_index[1]]).abs().sum(1, keepdim=True)
        return torch.full([1], 8.0, device=torch.device(self.device)) - 100 * apart


class OnCPU(Straight):
    device = "cpu"


def save_straight(file):
    """The same GNN as torch.export or torch.onnx writes it."""
    network, example = OnCPU().eval(), (torch.rand(9, 3), torch.zeros((2, 20), dtype=torch.int64))
    free = ({0: Dim("N")}, {1: Dim("E")})
    if file.suffix == ".pt2":
        torch.export.save(torch.export.export(network, example, dynamic_shapes=free), file)
    else:
        settings = {"dynamo": True, "external_data": False, "verbose": False}
        torch.onnx.export(network, example, file, dynamic_shapes=free, **settings)


def labels(table):
    return set(pd.read_parquet(table).labels_sha256.dropna()) - {""}


@pytest.fixture(scope="module")
def features(copy_of_smoke, events, tmp_path_factory):
    """A run on files with numbers alone, geometric cuts and somebody's GNN, with all options:
    nothing of it was trained here."""
    folder = tmp_path_factory.mktemp("features")
    for event in events:
        name = folder / f"event{event.event_id}.csv"
        np.savetxt(name, event.space_points / SCALES, delimiter=",")
    checkout = copy_of_smoke()
    torch.jit.save(torch.jit.script(Straight()), checkout.folder / "theirs.pt")
    pipeline = {
        "models": {"gnn": {"file": "theirs.pt"}},
        "geometric": {"embedding": {}, "filtering": {"z0_max": 2000}},
        "radius": 1,
    }
    models = checkout.overlay("theirs.yaml", pipeline=pipeline)
    overlay = checkout.overlay("quick.yaml", measure=QUICK)
    checkout.given = (*SMOKE, overlay, models, *given("features", folder))
    checkout.output = checkout.run(*checkout.given)
    checkout.results, checkout.folder_of_events = checkout.folder / "results" / "features", folder
    return checkout


def test_files_with_numbers_alone_are_measured(features, events):
    summary = pd.read_csv(features.results / "summary.csv")
    assert summary.option.tolist() == OPTIONS
    assert (summary.n_failed == 0).all()
    for option in summary.option:
        # Of the samples: the summary leaves out what was measured while others used the machine.
        samples = pd.read_parquet(features.results / "timings" / option / "round1.parquet")
        for _, rows in samples[samples.part == "total"].groupby("arm"):
            assert set(rows.event) == set(range(N_EVENTS))
    assert (summary.verdict != "invalid").all()
    sizes = pd.read_parquet(features.results / "reference.parquet")
    assert sizes.n_space_points.tolist() == [len(event) for event in events]
    assert (sizes.n_tracks > 0).all()
    for figure in ("comparison", "overhead", "latency_vs_concurrency"):
        assert (features.results / "figures" / f"{figure}.png").is_file()


def test_the_gnn_of_others_is_what_was_served(features):
    provenance = json.loads((features.results / "provenance.json").read_text())
    networks = provenance["common"]["inputs"]["networks"]
    gnn = networks["gnn"]
    assert gnn["weights_sha256"] == file_sha256(features.folder / "theirs.pt")
    assert json.loads(gnn["model"])["output"] == "logit"
    assert json.loads(networks["filtering"]["model"])["z0_max"] == 2000
    assert "weights_sha256" not in networks["embedding"]
    expected = labels(features.results / "reference.parquet")
    assert len(expected) == N_EVENTS
    for option in OPTIONS:
        assert labels(features.results / "timings" / option / "round1.parquet") == expected


@pytest.mark.parametrize("ending", [".onnx", ".pt2"])
def test_the_same_gnn_in_another_format_finds_the_same_tracks(features, ending):
    """ONNX Runtime computes in Python models of the server; torch.export becomes TorchScript."""
    save_straight(features.folder / f"theirs{ending}")
    overlay = features.overlay(
        "other.yaml", pipeline={"models": {"gnn": {"file": f"theirs{ending}"}}}
    )
    results = f"results/theirs{ending}"
    arguments = list(features.given)
    arguments.insert(arguments.index("--config"), overlay)
    arguments[arguments.index("results=results/features")] = f"results={results}"
    options = ("S1", "S5") if ending == ".onnx" else ("S4",)
    features.run(*(f"{results}/timings/{o}/round1.parquet" for o in options), *arguments)
    expected = labels(features.results / "reference.parquet")
    for option in options:
        assert labels(features.folder / results / "timings" / option / "round1.parquet") == expected
    choice = json.loads((features.folder / results / "model_repo" / "backend.json").read_text())
    assert ending == ".pt2" or choice["backend"] == "python"


def test_the_sample_is_described(features, events):
    sample = json.loads((features.results / "sample.json").read_text())
    sizes = [len(event) for event in events]
    assert (sample["source"], sample["n_events"], sample["truth"]) == ("features", N_EVENTS, False)
    assert sample["space_points"] == {
        "mean": pytest.approx(np.mean(sizes)),
        "min": min(sizes),
        "max": max(sizes),
    }
    page = (features.results / "report.html").read_text()
    assert re.search(r">Events</th><td>5: features, from /", page)


def test_without_truth_there_is_no_tracking_performance(features):
    assert not (features.results / "physics.csv").exists()
    assert 'id="tracking"' not in (features.results / "report.html").read_text()
    output = features.run("physics", *features.given, fails=True)
    assert "\nerror: events.path: " in output and "Traceback" not in output
    assert "no files that say which particles made the space points" in output
    output = features.run("ckf", *features.given, fails=True)
    assert "the CKF runs on measurements" in output and "Traceback" not in output


def test_the_files_are_read_once(features):
    assert "Nothing to be done" in features.run(*features.given)
    # Generated events of the same configuration are another run.
    assert "Reading the events" not in features.run("--dry-run", *SMOKE)


def test_a_file_that_changes_is_read_again(features):
    file = features.folder_of_events / "event3.csv"
    before = file.read_text()
    file.write_text(before + before[: before.index("\n") + 1])
    assert "Reading the events" in features.run("--dry-run", *features.given)
    file.write_text(before)


def test_a_finished_run_needs_the_files_no_more(features):
    elsewhere = features.folder_of_events.with_name("elsewhere")
    features.folder_of_events.rename(elsewhere)
    try:
        (features.results / "report.html").unlink()
        output = features.run("report", *features.given)
        assert f"{features.folder_of_events} is not there any more; the 5 events that" in output
        assert (features.results / "report.html").is_file()
        assert "Nothing to be done" in features.run("all", *features.given)
    finally:
        elsewhere.rename(features.folder_of_events)


def test_the_tracks_of_files_of_acts_are_those_of_the_generated_events(
    copy_of_smoke, first_smoke, acts
):
    checkout = copy_of_smoke()
    finder = "def finder():\n    return lambda points: [list(range(len(points)))]\n"
    (checkout.folder / "mine.py").write_text(finder)
    mine = checkout.overlay(
        "mine.yaml", physics={"methods": {"mine": {"finder": "mine.py:finder"}}}
    )
    checkout.run("physics", *SMOKE, mine, *given("acts", acts))
    found, expected = (
        checkout.folder / "results" / "acts",
        first_smoke.folder / "results" / "smoke",
    )
    columns = ["event", "n_space_points", "n_tracks", "labels_sha256"]
    pd.testing.assert_frame_equal(
        pd.read_parquet(found / "reference.parquet")[columns],
        pd.read_parquet(expected / "reference.parquet")[columns],
    )

    def performance(folder):
        table = pd.read_csv(folder / "physics.csv", keep_default_na=False)
        others = table.population.str.endswith("_hnl") | table.quantity.str.startswith("time")
        return table[(table.method == "exatrkx") & ~others].reset_index(drop=True)

    pd.testing.assert_frame_equal(performance(found), performance(expected))
    # A finder of one's own is judged on them too; the CKF can't be.
    table = pd.read_csv(found / "physics.csv")
    assert set(table.method) == {"exatrkx", "walkthrough", "mine"}
    candidates = table[(table.quantity == "fake_rate") & (table.variable == "overall")]
    assert candidates.set_index("method").total["mine"] == N_EVENTS


def test_the_commands_of_the_page_are_planned(features, root, tmp_path):
    (tmp_path / "event1-hits.csv").write_text("hit_id,x,y,z\n1,30,40,50\n")
    folders = {"trackml": tmp_path, "features": features.folder_of_events}
    page = (root / "docs" / "own.md").read_text()
    commands = re.findall(r"^snakemake (.*)$", page, re.MULTILINE)
    for command in commands:
        events = json.loads(re.search("events=({.*?})", command)[1])
        command = command.replace(events["path"], str(folders.pop(events["source"])))
        plan = features.run("--dry-run", *shlex.split(command))
        assert "Reading the events in" in plan and "Measuring S5" in plan
    assert not folders
    overlay = yaml.safe_load(re.search("```yaml\n(.*?)```", page, re.DOTALL)[1])
    overlay["events"]["path"] = str(tmp_path)
    own = features.overlay("own.yaml", **overlay)
    assert "results/trackml/events/imported" in features.run("--dry-run", "--configfile", own)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            {"source": "trackml"},
            "events.path: missing key; events.source: trackml needs the folder",
        ),
        ({"path": "somewhere"}, "events.path: expected none, or another events.source"),
        ({"source": "acts", "path": "no/such"}, "no/such: no such folder; expected one with"),
        ({"source": "acts", "path": "config"}, "config: expected "),
        ({"source": "csv", "path": "config"}, "events.source: found 'csv', expected one of"),
    ],
)
def test_what_is_not_there_is_told_before_any_job(copy_of_smoke, smoke, events, message):
    output = smoke.run("events", "--config", f"events={json.dumps(events)}", fails=True)
    assert message in output and "Traceback" not in output


def test_a_malformed_file_is_named_and_nothing_is_written(smoke, acts, tmp_path):
    for file in acts.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    broken = event_file(tmp_path, 2, "spacepoint")
    broken.write_text(broken.read_text().replace("\n", "\nx", 1))
    output = smoke.run("events", *SMOKE, *given("acts", tmp_path), fails=True)
    assert f"error: {broken}: line 2, column measurement_id_1: " in output
    assert not list((smoke.folder / "results/acts/events").rglob("*.parquet"))
