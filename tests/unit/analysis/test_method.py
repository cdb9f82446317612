"""The files of a method: what is read is what was written, and what is not one is refused."""

import numpy as np
import pandas as pd
import pytest
from hand_made import make_event, make_method

from exatrkx_service.identity import IdentityError, attributes_of, with_networks
from exatrkx_service.options import NETWORKS
from exatrkx_service.tracking import (
    Method,
    MethodError,
    check_origin,
    found_edges,
    read_method,
    read_tracks,
)


@pytest.fixture
def files(tmp_path):
    return {name: tmp_path / f"{name}.parquet" for name in ("tracks", "times", "edges")}


@pytest.fixture
def method():
    tensors = {"edges": np.array([[0], [1]]), "edge_scores": np.array([0.9])}
    tensors["filtered_edges"] = tensors["edges"]
    return make_method([0] * 5 + [5] * 5, edges=found_edges(make_event(), tensors, 0.5))


def test_a_method_survives_its_files(files, method):
    method.write(files, {"events_sha256": "e"}, {"gnn_cut": 0.9})
    again = read_method(files)
    for name in files:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(method, name))
    pd.testing.assert_frame_equal(read_tracks(files["tracks"]), method.tracks)
    for path in files.values():
        assert attributes_of(path) == {
            "inputs": {"events_sha256": "e"},
            "settings": {"gnn_cut": 0.9},
        }


def test_a_method_need_not_have_edges_nor_tracks(files, method):
    del files["edges"]
    Method(method.tracks.iloc[:0], method.times).write(
        files, {"events_sha256": "e"}, {"gnn_cut": 0.9}
    )
    again = read_method(files)
    assert again.edges is None and again.tracks.empty


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tracks", lambda t: t.drop(columns="track"), "tracks.parquet: column 'track' is missing"),
        ("tracks", lambda t: t.astype(float), "column 'event': expected integers, found float64"),
        ("tracks", lambda t: t.assign(track=-1), "column 'track': -1 is negative"),
        ("times", lambda t: t.assign(step="find"), "event 0, step find occurs twice"),
        ("edges", lambda t: t.assign(stage="gn"), "event 0, stage gn, population all occurs twice"),
        ("edges", lambda t: t[:1].assign(stage="gn"), "unknown value 'gn', expected one of build"),
    ],
)
def test_what_is_no_method_is_refused_with_its_file(files, method, name, change, message):
    method.write(files, {"events_sha256": "e"}, {"gnn_cut": 0.9})
    change(getattr(method, name)).to_parquet(files[name])
    with pytest.raises(MethodError, match=message):
        read_method(files)


def test_a_file_that_cannot_be_read_is_named(files):
    files["tracks"].write_bytes(b"no Parquet")
    with pytest.raises(MethodError, match=r"tracks\.parquet: not a readable Parquet file"):
        read_tracks(files["tracks"])
    with pytest.raises(MethodError, match=r"times\.parquet: not a readable Parquet file"):
        read_method({"times": files["times"]})


def test_results_of_other_events_settings_or_networks_are_refused(files, method, tmp_path):
    for stage in NETWORKS:
        (tmp_path / f"{stage}.safetensors").write_text(stage)
    settings, events = {"weights": str(tmp_path), "filter_cut": 0.1}, {"events_sha256": "e"}
    inputs = events | {"networks": with_networks(settings)["networks"]}
    method.write(files, inputs, settings)
    check_origin("mine", files, events, settings)
    with pytest.raises(IdentityError, match=r"events_sha256: e, but other in the events: results"):
        check_origin("mine", files, {"events_sha256": "other"}, settings)
    with pytest.raises(IdentityError, match=r"filter_cut: 0.1, but 0.2 in the configuration of m"):
        check_origin("mine", files, events, settings | {"filter_cut": 0.2})
    (tmp_path / "gnn.safetensors").write_text("of another training")
    expected = r"tracks\.parquet: networks\.gnn\.weights_sha256: \w+, but \w+ in the files of mine"
    with pytest.raises(IdentityError, match=expected):
        check_origin("mine", files, events, settings)
    # A method without networks.
    method.write(files, events, {"method": "CKF"})
    check_origin("CKF", files, events, {"method": "CKF"})
