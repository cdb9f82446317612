import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exatrkx_service.options import ENSEMBLE, FUSED, STAGES, Option, left_out, option_order

PLACEMENTS = st.lists(st.sampled_from(STAGES), unique=True)


def test_options_are_in_natural_order():
    assert option_order(["S10", "S2", "S0", "S2", "mine"]) == ["S0", "S2", "S10", "mine"]


def test_the_options_of_the_default(config):
    options = {n: Option.from_config(n, entry) for n, entry in config["options"].items()}
    assert {name: option.models for name, option in options.items()} == {
        "S0": (),
        "S1": ("embedding", "filtering", "gnn"),
        "S2": ("building",),
        "S3": STAGES,
        "S4": (*STAGES, ENSEMBLE),
        "S5": (FUSED,),
    }
    assert [option.mode for option in options.values()] == ["stages"] * 4 + ["ensemble", "fused"]
    assert [name for name, option in options.items() if not option.needs_server] == ["S0"]


@settings(deadline=None)
@given(PLACEMENTS)
def test_any_subset_of_stages_in_any_order(serve):
    option = Option.from_config("S6", {"serve": serve})
    assert option.mode == "stages"
    assert set(option.served) == set(serve) and len(option.served) == len(serve)
    assert list(option.served) == sorted(serve, key=STAGES.index)
    assert option.models == option.served
    assert option.needs_server == bool(serve)
    assert option == Option.from_config("S6", {"serve": serve[::-1]})


@pytest.mark.parametrize("serve", ["ensemble", "fused"])
def test_a_whole_pipeline_on_the_server(serve):
    option = Option.from_config("S7", {"serve": serve})
    assert option.served == STAGES and option.needs_server


@pytest.mark.parametrize("serve", [["gnnn"], "gnn", ["gnn", "ensemble"], ""])
def test_what_is_no_placement(serve):
    with pytest.raises(ValueError, match=r"options\.S6\.serve: .* expected a list of embedding, "):
        Option.from_config("S6", {"serve": serve})


def test_an_option_does_not_change():
    option = Option.from_config("S6", {"serve": []})
    with pytest.raises(dataclasses.FrozenInstanceError):
        option.name = "S7"


def test_options_that_need_other_models_are_left_out_with_the_reason(config):
    config["options"]["theirs"] = {"serve": "model"}
    assert left_out(config["options"], config["server"]) == {}
    model = {"name": "tracks", "version": 2, "input": "X", "output": "Y", "features": ["r"]}
    server = config["server"] | {"model": model | {"scales": [2]}}
    found = left_out(config["options"], server)
    assert list(found) == ["S1", "S2", "S3", "S4", "S5"]
    assert found["S2"] == (
        "needs building of our model repository; with server.model, here tracks, only options with "
        "serve: model are measured"
    )
    option = Option.from_config("theirs", {"serve": "model"}, server)
    assert option.needs_server and option.models == ("tracks",)
    assert (option.model.version, option.model.features, option.model.scales) == ("2", ("r",), (2,))
