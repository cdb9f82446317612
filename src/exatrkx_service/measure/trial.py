"""A trial: one rate of requests, for as long as it takes to tell whether the limit holds at it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice
from typing import Any

import numpy as np

from exatrkx_service.measure import host
from exatrkx_service.measure.arrivals import (
    OVER,
    UNDECIDED,
    arrival_times,
    queries_needed,
    verdict,
)
from exatrkx_service.measure.cell import why_failed
from exatrkx_service.measure.clients import Crew
from exatrkx_service.measure.load import OPTION, Counters, Item, Sample
from exatrkx_service.measure.open_loop import Schedule
from exatrkx_service.measure.plan import blocks

# Looking again and again finds by chance, sooner or later, what is not there. So all the time a
# trial is ended only by what is beyond doubt.
BEYOND_DOUBT = 1 - 1e-6
LEAST = 100  # requests in a trial, or its p99 would be of none
NS_PER_MS = 1e6
RATE_COLUMNS = (
    *("option", "rate_evt_s", "offered_evt_s", "achieved_evt_s", "n_queries", "n_over", "p50_ms"),
    *("p99_ms", "quantile_ms", "dispatch_p50_ms", "dispatch_p99_ms", "verdict", "disturbed"),
    "problem",
)


@dataclass
class Trial:
    """What came of a rate.

    Attributes:
        rate_evt_s: requests per second, the mean of the schedule.
        limit_ms, quantile: what was asked, see ``load`` in the configuration.
        samples: the requests in the order of their schedule; all that were due, none left out.
        disturbed: what disturbed the machine meanwhile, in words; empty if nothing did.
        problem: why it is not valid; empty if it is.
    """

    rate_evt_s: float
    limit_ms: float
    quantile: float
    samples: list[Sample] = field(default_factory=list)
    disturbed: str = ""
    problem: str = ""

    @cached_property
    def latencies_ms(self) -> np.ndarray:
        """From the scheduled time to the answer [ms], float (requests,).

        Infinite for one that the server turned away: it never gets its answer.
        """
        latencies = np.array([sample.latency_ns for sample in self.samples]) / NS_PER_MS
        return np.where([sample.rejected for sample in self.samples], np.inf, latencies)

    @cached_property
    def dispatch_ms(self) -> np.ndarray:
        """From the scheduled time until it was sent [ms], float (requests,)."""
        return np.array([s.start_ns - s.scheduled_ns for s in self.samples]) / NS_PER_MS

    @property
    def verdict(self) -> str:
        """``under``, ``over`` or ``undecided``, see ``arrivals.verdict``."""
        if self.problem or not self.samples:
            return UNDECIDED
        return verdict(len(self.samples), self.n_over, self.quantile)

    @property
    def n_over(self) -> int:
        """Requests that took longer than the limit."""
        return int((self.latencies_ms > self.limit_ms).sum())

    @property
    def client_limited(self) -> bool:
        """Whether only the wait for a free client is over the limit: more of them may do more."""
        sent_ms = self.latencies_ms - self.dispatch_ms
        if not np.isfinite(_quantile(sent_ms, self.quantile)):
            return False
        return self.verdict == OVER and _quantile(sent_ms, self.quantile) <= self.limit_ms

    def row(self) -> dict[str, Any]:
        """The trial in numbers: ``RATE_COLUMNS`` but the option, see results/README.md."""
        return {
            "rate_evt_s": self.rate_evt_s,
            "offered_evt_s": _rate([s.scheduled_ns for s in self.samples]),
            "achieved_evt_s": _rate([s.end_ns for s in self.samples if not s.error]),
            "n_queries": len(self.samples),
            "n_over": self.n_over,
            "p50_ms": _quantile(self.latencies_ms, 0.5),
            "p99_ms": _quantile(self.latencies_ms, 0.99),
            "quantile_ms": _quantile(self.latencies_ms, self.quantile),
            "dispatch_p50_ms": _quantile(self.dispatch_ms, 0.5),
            "dispatch_p99_ms": _quantile(self.dispatch_ms, 0.99),
            "verdict": self.verdict,
            "disturbed": self.disturbed,
            "problem": self.problem,
        }


def _rate(moments_ns: Sequence[int]) -> float:
    """Per second, from the first moment to the last; NaN if they are too few [1/s]."""
    if len(moments_ns) < 2:
        return math.nan
    return (len(moments_ns) - 1) / ((max(moments_ns) - min(moments_ns)) / 1e9)


def _quantile(values: np.ndarray, quantile: float) -> float:
    """One of the values; NaN if so few that none is expected above it, or if it is infinite."""
    if len(values) * (1 - quantile) < 1 - 1e-9:
        return math.nan
    found = float(np.quantile(values, quantile, method="higher"))
    return found if math.isfinite(found) else math.nan


class Look:
    """Looks at a trial a few times a second, and ends it when it is decided.

    Twice the rule of ``arrivals.verdict`` is asked at its own confidence: once after the requests
    that were planned, and, if they did not decide it, at the end of the schedule.

    Args:
        counters: of the clients.
        schedule: of the trial.
        planned: requests whose outcome is to be known before the first look.
        quantile: see ``Trial``.
        check: raises if it makes no sense to go on.
    """

    def __init__(
        self,
        counters: Counters,
        schedule: Schedule,
        planned: int,
        quantile: float,
        check: Callable[[], None],
    ) -> None:
        self.counters = counters
        self.schedule = schedule
        self.planned = planned
        self.quantile = quantile
        self.check = check
        self.looked = False

    def known(self, now_ns: int) -> tuple[int, int]:
        """Requests whose outcome is known, and at least how many of them are over the limit.

        A request that has been due for longer than the limit is over it, done or not, sent or not.
        """
        n_over = self.counters.over()  # first, for each of them is finished a moment later
        in_time = self.counters.finished() - n_over
        cutoff_ns = now_ns - self.counters.began_ns() - self.schedule.limit_ns
        due = int(np.searchsorted(self.schedule.offsets_ns, cutoff_ns))
        n_over = max(n_over, due - in_time)
        return in_time + n_over, n_over

    def __call__(self) -> None:
        """Looks; see the class."""
        self.check()
        now_ns = time.monotonic_ns()
        n, n_over = self.known(now_ns)
        if self.counters.halted() or n < LEAST:
            return
        decided = verdict(n, n_over, self.quantile, BEYOND_DOUBT) == OVER
        if n >= self.planned and not self.looked:
            self.looked = True
            decided |= verdict(n, n_over, self.quantile) != UNDECIDED
        if decided:
            self.counters.halt(after_ns=now_ns)


def run_trial(
    crew: Crew,
    events: Mapping[int, np.ndarray],
    rate_evt_s: float,
    load: Mapping[str, Any],
    seed: int,
    tag: str,
    check: Callable[[], None] = lambda: None,
) -> Trial:
    """Sends events at a rate, as a Poisson process, until it is known whether the limit holds.

    That takes at least ``load.seconds``, and as many requests as could be enough, unless it is over
    the limit beyond doubt before; and at most ``load.max_seconds``.

    Args:
        crew: the clients, all of which take part.
        events: space points by event number; they are sent pass by pass, each in random order.
        rate_evt_s: the rate.
        load: the section ``load`` of the configuration.
        seed: of the schedule.
        tag: beginning of the request ids, unique in the server's life.
        check: raises if it makes no sense to go on.
    """
    quantile = load["quantile"]
    most = max(1, math.ceil(rate_evt_s * load["max_seconds"]))
    planned = min(most, max(math.ceil(rate_evt_s * load["seconds"]), queries_needed(0, quantile)))
    schedule = Schedule(
        list(islice(_items(events, seed), most)),
        arrival_times(rate_evt_s, most, seed),
        round(load["limit_ms"] * NS_PER_MS),
    )
    watch = host.Watch()
    before = watch.read()
    look = Look(crew.counters, schedule, planned, quantile, check)
    shares = crew.open_turn(schedule, tag, look)
    disturbed = host.disturbances(host.between(before, watch.read()))
    samples = [sample for share in shares for sample in share.samples]
    samples.sort(key=lambda sample: sample.scheduled_ns)
    trial = Trial(rate_evt_s, load["limit_ms"], quantile, samples, disturbed)
    if any(sample.status == "failed" for sample in samples):
        trial.problem = why_failed(samples)
    return trial


def _items(events: Mapping[int, np.ndarray], seed: int) -> Iterator[Item]:
    passes = blocks(events, len(events), 1, np.random.default_rng(seed))
    return (Item(OPTION, *event) for event in chain.from_iterable(passes))
