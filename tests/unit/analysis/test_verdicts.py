import numpy as np
import pytest
from synthetic import make_blocks, make_jobs, make_reference, make_timings

from exatrkx_service.analysis.cells import INVALID, STABLE, UNSTABLE, same_tracks
from exatrkx_service.analysis.verdicts import verdicts
from exatrkx_service.measure.load import hash_labels


@pytest.fixture(scope="module")
def quiet():
    """Samples of two options, each under two loads in two rounds, that nothing disturbed."""
    return make_timings({"S0": [], "S3": ["gnn"]}, 20, concurrencies=(1, 2))


@pytest.fixture
def timings(quiet):
    return quiet.copy()


def judge(timings, blocks=None, jobs=None, precision=0.03, min_blocks=8):
    blocks = make_blocks(timings) if blocks is None else blocks
    return verdicts(
        timings,
        blocks,
        make_reference(timings),
        jobs or {},
        precision=precision,
        min_blocks=min_blocks,
    )


def slower(timings, factor, option="S3", arm="option", rounds=(1, 2)):
    """The samples, those of one arm with 2 clients ``factor`` times as long."""
    chosen = (timings.option == option) & (timings.concurrency == 2) & (timings.arm == arm)
    chosen &= timings["round"].isin(rounds)
    longer = (timings.duration_ns * factor).astype("int64")
    return timings.assign(duration_ns=timings.duration_ns.where(~chosen, longer))


def test_what_nothing_disturbed_is_stable(timings):
    assert set(judge(timings).values()) == {(STABLE, "")}


def test_a_cost_that_differs_from_round_to_round_is_unstable(timings):
    found = judge(slower(timings, 1.2, rounds=[2]), precision=0.1)
    verdict, reason = found.pop(("S3", 2))
    assert verdict == UNSTABLE
    assert reason.startswith("it cost +") and "in round 2 and +" in reason
    assert set(found.values()) == {(STABLE, "")}


def test_a_drift_of_the_machine_is_none_of_the_cost(timings):
    drifted = timings.assign(
        duration_ns=(timings.duration_ns * np.where(timings["round"] == 2, 1.1, 1)).astype(int)
    )
    assert set(judge(drifted).values()) == {(STABLE, "")}


def test_one_hiccup_is_trimmed(timings):
    hiccup = (timings["round"] == 2) & (timings.block == 3) & (timings.arm == "option")
    timings.loc[hiccup, "duration_ns"] *= 20
    assert set(judge(timings).values()) == {(STABLE, "")}


def test_one_round_can_not_disagree(timings):
    one = timings[timings["round"] == 1]
    assert set(judge(one, precision=0.1).values()) == {(STABLE, "")}


def test_a_cost_that_is_not_known_well_enough_is_unstable(timings):
    found = judge(timings, precision=1e-4)
    assert {verdict for verdict, _ in found.values()} == {UNSTABLE}
    assert found["S3", 1][1].startswith("the cost is known to ±0.")
    assert found["S3", 1][1].endswith("% of the control's time; 0.0% were asked for")


def test_one_block_is_no_knowledge(timings):
    one = timings[(timings["round"] == 1) & (timings.block == 0)]
    assert judge(one, min_blocks=1)["S3", 1] == (
        UNSTABLE,
        "the cost is not known: 1 blocks, at least 2 are needed",
    )


def test_two_measurements_of_one_thing_that_differ_are_invalid(timings):
    verdict, reason = judge(slower(timings, 1.1, option="S0"))["S0", 2]
    assert verdict == INVALID
    assert reason.startswith("A/A: S0 against itself costs +")
    # What the precision asked for allows is none.
    assert judge(slower(timings, 1.02, option="S0"))["S0", 2] == (STABLE, "")


def test_disturbed_blocks_that_had_to_be_used_make_a_cell_unstable(timings):
    blocks = make_blocks(timings)
    chosen = (blocks.option == "S3") & (blocks.concurrency == 2) & (blocks["round"] == 1)
    chosen &= blocks.block < 3
    blocks.loc[chosen, "disturbed"] = "others used 0.97 CPUs"
    assert set(judge(timings, blocks, min_blocks=7).values()) == {(STABLE, "")}
    found = judge(timings, blocks, min_blocks=8)
    assert found.pop(("S3", 2)) == (
        UNSTABLE,
        "too few blocks were undisturbed, so 3 others count: others used 0.97 CPUs",
    )
    assert set(found.values()) == {(STABLE, "")}


def test_time_that_is_in_no_part_makes_a_cell_unstable(timings):
    lost = (timings.part == "compute") & (timings.stage == "labeling") & (timings.option == "S3")
    found = judge(timings[~lost | (timings.arm == "control")], precision=0.05)
    share = 0.6 / 33.4
    assert share < 0.02 and found["S3", 1] == (STABLE, "")
    lost = (timings.part == "compute") & (timings.stage == "embedding") & (timings.option == "S3")
    verdict, reason = judge(timings[~lost | (timings.arm == "control")])["S3", 1]
    assert verdict == UNSTABLE and reason.endswith("% of the time is in no part")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cold_processes": ["77"]}, "1 processes of models were not warm in round 1"),
        (
            {"affinities": {"client": [0, 1], "gnn (77)": [0]}},
            "process gnn (77) was bound to the CPUs [0] of [0, 1] in round 1",
        ),
    ],
)
def test_what_a_job_says_against_itself_makes_its_cells_unstable(timings, change, reason):
    jobs = make_jobs(timings)
    assert set(judge(timings, jobs=jobs).values()) == {(STABLE, "")}
    jobs["S3/round1"]["job"] |= change
    found = judge(timings, jobs=jobs)
    assert found["S3", 1] == found["S3", 2] == (UNSTABLE, reason)
    assert found["S0", 1] == (STABLE, "")


def test_a_cell_that_ended_early_is_unstable(timings):
    jobs = make_jobs(timings)
    jobs["S3/round1"]["job"]["cells"][1]["ended_early"] = "the time was up"
    found = judge(timings, jobs=jobs)
    assert found["S3", 2] == (UNSTABLE, "ended early in round 1: the time was up")
    assert found["S3", 1] == (STABLE, "")


def test_invalid_outweighs_unstable(timings):
    timings = slower(timings, 1.5, rounds=[2])
    chosen = (timings.part == "total") & (timings.option == "S3") & (timings.concurrency == 2)
    chosen &= timings.arm == "option"
    timings.loc[timings.index[chosen][:3], ["status", "error", "labels_sha256"]] = [
        "failed",
        "refused",
        "",
    ]
    reason = "3 requests failed, most often: refused"
    assert judge(timings)["S3", 2] == (INVALID, reason)


def test_what_failed_beside_the_samples_counts_as_well(timings):
    blocks = make_blocks(timings)
    blocks.loc[blocks.option == "S3", "n_failed"] = 1
    assert judge(timings, blocks)["S3", 1] == (INVALID, "40 requests failed")


def test_other_tracks_of_the_control_are_invalid(timings):
    chosen = (timings.part == "total") & (timings.option == "S3") & (timings.arm == "control")
    timings.loc[chosen, "labels_sha256"] = "0" * 64
    reason = "other tracks than the reference in the control"
    assert judge(timings)["S3", 1] == (INVALID, reason)


def of_theirs(timings):
    """The samples of S3 as those of somebody else's model, with tracks of its own."""
    own = (timings.option == "S3") & (timings.arm == "option")
    stage = timings.stage.where(~own | timings.part.isin(["total", "unattributed"]), "model")
    timings = timings.assign(stage=stage).drop_duplicates(
        ["option", "round", "concurrency", "arm", "block", "repetition", "event", "stage", "part"]
    )
    total = own.reindex(timings.index) & (timings.part == "total")
    return timings.assign(labels_sha256=timings.labels_sha256.where(~total, "0" * 64)), total


def test_somebody_elses_model_may_find_other_tracks(timings):
    other, _ = of_theirs(timings)
    found = judge(other)
    assert "other tracks" not in " ".join(reason for _, reason in found.values())
    assert INVALID not in {verdict for verdict, _ in found.values()}
    shares = same_tracks(other, make_reference(timings))
    assert shares["S3", 1] == 0 and shares["S0", 1] == 1
    # Those of its control are ours.
    control = (timings.option == "S3") & (timings.arm == "control") & (timings.part == "total")
    wrong = other.assign(labels_sha256=other.labels_sha256.where(~control, "1" * 64))
    assert judge(wrong)["S3", 1] == (INVALID, "other tracks than the reference in the control")


def test_a_model_that_changes_its_mind_is_unstable(timings):
    other, total = of_theirs(timings)
    event = other.event[total].iloc[0]
    late = total & (other.event == event) & (other["round"] == 2) & (other.concurrency == 2)
    changing = other.assign(labels_sha256=other.labels_sha256.where(~late, "1" * 64))
    n_events = timings.event.nunique()
    verdict, reason = judge(changing)["S3", 2]
    assert verdict == UNSTABLE
    assert f"the model gave other tracks than at first to 1 of {n_events} events" in reason
    assert "at first" not in judge(changing)["S3", 1][1]


def test_a_model_that_finds_nothing_has_no_time(timings):
    other, total = of_theirs(timings)
    nothing = {n: hash_labels(np.full(n, -1)) for n in other.n_space_points.unique()}
    empty = other.assign(
        labels_sha256=other.labels_sha256.where(~total, other.n_space_points.map(nothing))
    )
    assert judge(empty)["S3", 1] == (INVALID, "no tracks were found in any event")


def test_requests_that_were_turned_away_are_no_failures(timings):
    chosen = (timings.option == "S3") & (timings.arm == "option") & (timings.part == "total")
    first = timings[chosen & (timings.concurrency == 2)].index[:3]
    timings.loc[first, ["status", "error", "labels_sha256"]] = ["rejected", "quota", ""]
    blocks = make_blocks(timings)
    blocks["n_failed"] = 0
    verdict, reason = judge(timings, blocks)["S3", 2]
    assert (verdict, reason) == (
        INVALID,
        "3 requests were turned away by the server, which is its limit and no failure: quota",
    )
