"""The capacity of a service option: the highest rate at which its latency stays under a limit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exatrkx_service.measure import host
from exatrkx_service.measure.arrivals import OVER, UNDER, queries_needed
from exatrkx_service.measure.clients import Crew
from exatrkx_service.measure.job import Measurement
from exatrkx_service.measure.load import OPTION, Item
from exatrkx_service.measure.trial import RATE_COLUMNS, Trial, run_trial
from exatrkx_service.measure.warmup import pick_events
from exatrkx_service.options import Option
from exatrkx_service.pipeline import device as devices

N_ALONE = 10  # events that are sent one after the other, to find a rate to begin with
HIGHEST_EVT_S = 1e5
ROW_COLUMNS = (
    *("option", "rate_evt_s", "event", "client", "scheduled_ns", "start_ns", "duration_ns"),
    *("latency_ns", "status", "error", "labels_sha256"),
)


@dataclass
class Search:
    """What a search for the capacity has found.

    Attributes:
        trials: all, in the order in which they were made.
        problem: why there is no result; empty if there is one.
    """

    trials: list[Trial] = field(default_factory=list)
    problem: str = ""

    def _told(self, verdict: str) -> list[Trial]:
        told = [] if self.problem else [one for one in self.trials if one.verdict == verdict]
        return sorted(told, key=lambda trial: trial.rate_evt_s)

    @property
    def low(self) -> Trial | None:
        """The highest rate that is under the limit for certain."""
        return self._told(UNDER)[-1] if self._told(UNDER) else None

    @property
    def high(self) -> Trial | None:
        """The lowest rate that is over the limit for certain."""
        return self._told(OVER)[0] if self._told(OVER) else None

    @property
    def rates(self) -> list[float]:
        """All rates that were tried, ascending."""
        return sorted(trial.rate_evt_s for trial in self.trials)


def search(
    run: Callable[[float], Trial], start_evt_s: float, lowest_evt_s: float, resolution: float
) -> Search:
    """Finds the capacity: the rate is halved or doubled until it is enclosed, and then bisected.

    At some rates neither side may be certain. So the bisection goes on at both ends of them.

    Args:
        run: makes the trial of a rate [1/s].
        start_evt_s: where to begin.
        lowest_evt_s: below it no rate can be told to be under the limit in the time there is.
        resolution: rates that differ by less than this share are not told apart.
    """
    found = Search()

    def at(rate_evt_s: float) -> None:
        trial = run(rate_evt_s)
        found.trials.append(trial)
        if trial.problem:
            found.problem = f"at {rate_evt_s:.4g}/s: {trial.problem}"

    at(max(start_evt_s, lowest_evt_s))
    while found.low is None and found.rates[0] > lowest_evt_s and not found.problem:
        at(max(found.rates[0] / 2, lowest_evt_s))
    if found.low is None:
        return found
    while found.high is None and 2 * found.rates[-1] <= HIGHEST_EVT_S and not found.problem:
        at(2 * found.rates[-1])
    for gap in (_above_low, _below_high):
        while not found.problem and found.high is not None:
            low, high = gap(found)
            if high <= (1 + resolution) * low:
                break
            at(math.sqrt(low * high))
    return found


def _above_low(found: Search) -> tuple[float, float]:
    """The highest rate that is under the limit, and the next one that was tried."""
    low = found.low.rate_evt_s
    return low, min(rate for rate in found.rates if rate > low)


def _below_high(found: Search) -> tuple[float, float]:
    """The lowest rate that is over the limit, and the one before it that was tried."""
    high = found.high.rate_evt_s
    return max(rate for rate in found.rates if rate < high), high


def result(option: str, found: Search, load: Mapping[str, Any]) -> dict[str, Any]:
    """The row of an option in ``capacity.csv``; its columns are described in results/README.md.

    It is ``certified`` if the limit holds at ``low`` and does not hold at ``high``, each with the
    confidence of ``arrivals.verdict``; otherwise ``reason`` says what is not known. A request that
    failed, or other tracks, leave no capacity.
    """
    low, high = found.low, found.high
    reason = found.problem or _doubt(found, load)
    numbers = low.row() if low else {}
    return {
        "option": option,
        "limit_ms": load["limit_ms"],
        "quantile": load["quantile"],
        "capacity_evt_s": low.rate_evt_s if low else math.nan,
        "low_evt_s": low.rate_evt_s if low else math.nan,
        "high_evt_s": high.rate_evt_s if high else math.nan,
        "certified": not reason,
        "n_queries": numbers.get("n_queries", 0),
        "n_over": numbers.get("n_over", 0),
        **{key: numbers.get(key, math.nan) for key in ("p50_ms", "p99_ms", "dispatch_p99_ms")},
        "reason": reason,
    }


def _doubt(found: Search, load: Mapping[str, Any]) -> str:
    """Why a capacity is not certified; empty if it is."""
    low, high = found.low, found.high
    doubts = []
    if low is None:
        high = min(found.trials, key=lambda trial: trial.rate_evt_s)
        told = "exceeded" if high.verdict == OVER else "not certain to hold"
        doubts.append(
            f"the limit is {told} at {high.rate_evt_s:.4g}/s ({high.n_over} of "
            f"{len(high.samples)} requests over it), and load.max_seconds is too short for a "
            "lower rate"
        )
    if high is None:
        return f"the limit is not exceeded for certain at any rate up to {HIGHEST_EVT_S:g}/s"
    if high.client_limited:
        doubts.append(
            f"at {high.rate_evt_s:.4g}/s requests waited for one of the {load['clients']} clients: "
            "more of them (load.clients) may do more"
        )
    if high.disturbed:
        doubts.append(f"at {high.rate_evt_s:.4g}/s the machine was disturbed: {high.disturbed}")
    return "; ".join(doubts)


def measure_capacity(
    option: Option,
    seed: int,
    events: Mapping[int, np.ndarray],
    reference: pd.DataFrame,
    model_repository: Path,
    config: Mapping[str, Any],
    work: Path,
    log: Path,
    say: Callable[[str], None] = print,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Finds the capacity of one option, and measures it at the rates of the configuration.

    Args:
        option: the service option.
        seed: of the arrivals: the pattern is the same at every rate and for every option.
        events: space points by event number.
        reference: the labels that each event must give, and its sizes; see ``job.measure``.
        model_repository: of this configuration.
        config: the sections ``pipeline``, ``server``, ``measure`` and ``load``.
        work: an empty folder for the server's files.
        log: file for the server's output.
        say: gets one line per step that the user is to see.

    Returns:
        One row per request; one row per rate; and what to know about the job, with the ``result``
        under ``capacity``.

    Raises:
        ServerError, TracksError, ClientError, InferenceServerException: see ``job.measure``.
    """
    devices.settle(config["pipeline"]["threads"])
    load = config["load"]
    job = Measurement(option, reference, model_repository, config, say, control=False)
    job.facts |= {"limits": host.limits(), "clients": config["measure"]["clients"], "seed": seed}
    with job.at_work("capacity", load["clients"], events, reference, work, log) as crew:
        begin = time.monotonic()

        def run(rate_evt_s: float) -> Trial:
            tag = f"open/{rate_evt_s!r}"
            trial = run_trial(crew, events, rate_evt_s, load, seed, tag, job.check)
            _check(trial, job)
            say(
                f"{rate_evt_s:.4g}/s: {trial.n_over} of {len(trial.samples)} requests over "
                f"{trial.limit_ms:g} ms: {trial.problem or trial.verdict}"
            )
            return trial

        lowest = queries_needed(0, load["quantile"]) / load["max_seconds"]
        alone, problem = _rate_alone(crew, events, job)
        found = Search(problem=problem)
        if not problem:
            found = search(run, alone / 2, lowest, load["resolution"])
        more: list[Trial] = []
        for rate in load["rates"]:
            if not found.problem and rate not in found.rates:
                more.append(run(rate))
                if more[-1].problem:
                    found.problem = f"at {rate:.4g}/s: {more[-1].problem}"
        job.facts["timed_s"] = time.monotonic() - begin
    job.facts["capacity"] = result(option.name, found, load)
    job.facts["wall_s"] = time.monotonic() - job.began_s
    trials = sorted(found.trials + more, key=lambda trial: trial.rate_evt_s)
    rows = [{"option": option.name} | trial.row() for trial in trials]
    rates = pd.DataFrame(rows, columns=[*RATE_COLUMNS])
    return _requests(option.name, trials), rates, job.facts


def _rate_alone(
    crew: Crew, events: Mapping[int, np.ndarray], job: Measurement
) -> tuple[float, str]:
    """Events per second of one client in a closed loop; and what went wrong, if something did."""
    items = [Item(OPTION, event, 0) for event in pick_events(events, N_ALONE)]
    shares = crew.turn(1, items, "alone", job.check)
    samples = [sample for share in shares for sample in share.samples]
    errors = [sample.error for sample in samples if sample.error]
    if errors:
        return math.nan, f"a request that was sent alone failed: {errors[-1]}"
    return 1e9 / float(np.mean([sample.duration_ns for sample in samples])), ""


def _check(trial: Trial, job: Measurement) -> None:
    """Finds out whether a trial's tracks are those of the reference."""
    done = [sample for sample in trial.samples if not sample.error]
    if job.option.model:  # its tracks need not be ours
        return
    other = {sample.event for sample in done if sample.labels_sha256 != job.labels[sample.event]}
    if other and not trial.problem:
        trial.problem = f"the tracks of event {min(other)} are not those of the reference"


def _requests(option: str, trials: list[Trial]) -> pd.DataFrame:
    rows = [
        (
            *(option, trial.rate_evt_s, s.event, s.client, s.scheduled_ns, s.start_ns),
            *(s.duration_ns, s.latency_ns, s.status, s.error),
            s.labels_sha256,
        )
        for trial in trials
        for s in trial.samples
    ]
    return pd.DataFrame(rows, columns=[*ROW_COLUMNS])
