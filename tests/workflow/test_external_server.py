"""Measuring somebody else's server, whose trace can't be had."""

import pytest
from google.protobuf import text_format

from exatrkx_service.analysis.timings import check_timings
from exatrkx_service.options import STAGES, Option
from exatrkx_service.serving import repository
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.server import ServerError


@pytest.fixture
def external(small):
    """Serves the models of an option, and lets its measurement use that server."""

    def serve(name, **settings):
        option = Option.from_config(name, small.config["options"][name])
        theirs = small.config["server"] | settings
        work = small.folder / "theirs"
        return launch(small.models, option.models, work, theirs, small.pipeline)

    def use(server):
        small.config["server"] |= {
            "launcher": "external",
            "urls": {"grpc": server.grpc_url, "http": server.http_url},
        }

    small.serve, small.use = serve, use
    return small


@pytest.mark.parametrize("name", ["S3", "S5"])
def test_requests_are_not_divided_and_the_statistics_are_kept(external, name):
    external.config["measure"]["concurrency"] = [1, 2]
    with external.serve(name, instances=2) as server:
        external.use(server)
        rows, blocks, facts = external.run(name, work="none")
    check_timings(rows, name)
    assert blocks[blocks.arm == "option"].server_cpu_ms.isna().all()  # it may be anywhere
    rows = rows[rows.arm == "option"]
    assert set(rows.part) == {"total", "serialise", "request", "deserialise", "unattributed"}
    assert set(rows[rows.part == "request"].stage) == ({"pipeline"} if name == "S5" else {*STAGES})
    total = rows[rows.part == "total"].duration_ns.sum()
    assert rows[rows.part != "total"].duration_ns.sum() == total
    models = Option.from_config(name, external.config["options"][name]).models
    asked = {(row["concurrency"], row["model"]): row["requests"] for row in facts["statistics"]}
    sent = rows[rows.part == "total"].groupby("concurrency").size()
    assert set(asked) == {(c, m) for c in (1, 2) for m in models}
    # None of the warm-up; but those that tell how large a block is to be, each event once. With
    # two clients also two before and some after those that count.
    assert {asked[1, m] for m in models} == {sent[1] + 3}
    done = blocks[(blocks.arm == "option") & (blocks.concurrency == 2)].n_done.sum()
    assert done > sent[2] and all(3 + 2 <= asked[2, m] - done <= 20 for m in models)
    assert all(row["compute_infer_ms"] > 0 for row in facts["statistics"])
    assert facts["server"] == server.version and facts["server_machine"] == "not known"
    # What the server says, not what the configuration of its clients says.
    assert external.config["server"]["instances"] == 1
    assert {model["instances"] for model in facts["models"].values()} == {2}
    assert not (external.folder / "none").exists(), "a server was prepared"


def test_a_response_cache_is_refused_unless_it_is_allowed(external, monkeypatch):
    """This server has none; its model asks for one, which is what a client can see."""
    place = repository.place

    def with_cache(config, **settings):
        text_format.Parse("response_cache { enable: true }", config)
        return place(config, **settings)

    monkeypatch.setattr(repository, "place", with_cache)
    with external.serve("S2") as server:
        external.use(server)
        with pytest.raises(ServerError, match=r"answers building from a response cache.*allow"):
            external.run("S2")
        external.config["server"]["response_cache"] = "allow"
        _, _, facts = external.run("S2")
    (row,) = facts["statistics"]
    assert row["requests"] >= 6 and row["cache_hits"] == 0
