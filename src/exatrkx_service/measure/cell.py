"""Measures a cell: an option under a load, block by block, each with its control beside it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from exatrkx_service.measure import host
from exatrkx_service.measure.clients import Crew
from exatrkx_service.measure.estimate import Estimate, half_width, trimmed_mean
from exatrkx_service.measure.load import CONTROL, OPTION, Sample, result
from exatrkx_service.measure.plan import block_size, blocks, least_events, turns

LEAST_BLOCKS = 2  # for an interval; they are measured however long they take
ARMS = (OPTION, CONTROL)


@dataclass
class Cell:
    """What came of a cell.

    Attributes:
        concurrency: number of clients.
        samples: by block, those of both arms.
        blocks: one row per block and arm, see results/README.md.
        costs: of the undisturbed blocks, the mean difference of the arms [ms].
        control_ms: of the same blocks, the mean of the control.
        ended_early: why; empty if it was not.
        reached: whether the cost is known to the precision that was asked for.
        seconds: time of all blocks [s].
        client_pss_mib, server_pss_mib: the most after any block; None where it can't be read [MiB].
    """

    concurrency: int
    samples: list[list[Sample]] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    control_ms: list[float] = field(default_factory=list)
    ended_early: str = ""
    reached: bool = False
    seconds: float = 0.0
    client_pss_mib: float | None = None
    server_pss_mib: float | None = None

    @property
    def cost(self) -> Estimate:
        """Of the option over its control [ms]."""
        return trimmed_mean(self.costs)

    @property
    def relative_half_width(self) -> float:
        """Half of the interval of the cost over the control's mean; NaN before it is known."""
        return half_width(self.cost) / trimmed_mean(self.control_ms).value

    @property
    def n_failed(self) -> int:
        """Number of requests that failed, or that the server turned away."""
        return sum(bool(sample.error) for block in self.samples for sample in block)

    def facts(self) -> dict[str, Any]:
        """What to know about it besides the samples."""
        return {
            "concurrency": self.concurrency,
            "blocks": len(self.samples),
            "seconds": round(self.seconds, 3),
            "reached": self.reached,
            "ended_early": self.ended_early,
            "client_pss_mib": self.client_pss_mib,
            "server_pss_mib": self.server_pss_mib,
        }


class Measuring:
    """Measures the cells of one job.

    Args:
        crew: the clients.
        events: space points by event number.
        plan: the ``measure`` section of the configuration.
        server_pids: the server's processes on this machine; None if they are on another one.
        check: raises if it makes no sense to go on.
        drain: called after a turn in which a request timed out; returns when the server has done
            it as well.
    """

    def __init__(
        self,
        crew: Crew,
        events: Mapping[int, np.ndarray],
        plan: Mapping[str, Any],
        server_pids: Sequence[int] | None = (),
        check: Callable[[], None] = lambda: None,
        drain: Callable[[], None] = lambda: None,
    ) -> None:
        self.crew = crew
        self.events = events
        self.plan = plan
        self.server_pids = server_pids
        self.check = check
        self.drain = drain
        self.watch = host.Watch()

    def cell(self, concurrency: int, seed: int) -> Cell:
        """Measures one cell until its cost is known, or its time is up; see ``_is_done``."""
        cell = Cell(concurrency)
        rng = np.random.default_rng(seed)
        seconds = self._seconds_per_event(concurrency, rng)
        size = block_size(seconds, self.plan["block_s"])
        affordable = self.plan["max_seconds"] / self.plan["min_blocks"] / seconds
        for block in blocks(self.events, size, least_events(concurrency, affordable), rng):
            began = time.monotonic()
            self._block(cell, block, rng)
            cell.seconds += time.monotonic() - began
            self._memory(cell)
            if cell.n_failed:
                cell.ended_early = self._why(cell)
                break
            if self._is_done(cell):
                break
        return cell

    def _seconds_per_event(self, concurrency: int, rng: np.random.Generator) -> float:
        """Time of an event, of each arm once, from a short block that is not recorded [s]."""
        few = next(blocks(self.events, max(4, 2 * concurrency), concurrency, rng))
        seconds = 0.0
        for number, (_, items) in enumerate(turns(few, concurrency, rng)):
            tag = f"first/c{concurrency}/{number}"
            began = time.monotonic()
            done = self._turn(concurrency, items, tag)
            rate = done["n_in_window"] / done["window_s"] if done["window_s"] else 0
            # If all of them failed there is no rate.
            seconds += len(items) / rate if rate else time.monotonic() - began
        return seconds / len(few)

    def _turn(self, concurrency: int, items: list[tuple[str, int]], tag: str) -> dict[str, Any]:
        """What the clients did in one turn; the server has done all of it as well."""
        done = result(self.crew.turn(concurrency, items, tag, self.check))
        if any(sample.timed_out for sample in done["samples"]):
            self.drain()
        return done

    def _block(self, cell: Cell, block: list[tuple[int, int]], rng: np.random.Generator) -> None:
        number, c = len(cell.samples), cell.concurrency
        clients = self.crew.pids(c)
        before = self.watch.read()
        samples: list[Sample] = []
        rows: dict[str, dict[str, Any]] = {}
        for arm, items in turns(block, c, rng):
            spent = host.cpu_ns(clients), host.cpu_ns(self.server_pids or ())
            done = self._turn(c, items, f"c{c}/b{number}")
            client_ns = host.cpu_ns(clients) - spent[0]
            server_ns = host.cpu_ns(self.server_pids or ()) - spent[1]
            samples += done["samples"]
            if arm:
                rows[arm] = _row(done, client_ns, server_ns)
            else:
                rows = {a: _row_of_one(a, done["samples"], server_ns) for a in ARMS}
        happened = host.between(before, self.watch.read())
        disturbed = host.disturbances(happened)
        kept = ("others", "steal", "throttled", "switches_per_s", "mhz")
        for arm, row in rows.items():
            row |= {"concurrency": c, "block": number, "arm": arm, "disturbed": disturbed}
            row |= {key: happened[key] for key in kept}
            if self.server_pids is None:
                row["server_cpu_ms"] = float("nan")
            cell.blocks.append(row)
        cell.samples.append(samples)
        means = {arm: _mean_ms(arm, samples) for arm in ARMS}
        if not disturbed and None not in means.values():
            cell.costs.append(means[OPTION] - means[CONTROL])
            cell.control_ms.append(means[CONTROL])

    def _is_done(self, cell: Cell) -> bool:
        """Whether enough was measured.

        Never before each event was sent ``measure.repetitions`` times by each arm. Then as soon as
        the cost is known to ``measure.precision`` from ``measure.min_blocks`` undisturbed blocks,
        or after ``measure.max_seconds``.
        """
        sent = sum(len(block) for block in cell.samples) / len(ARMS)
        if len(cell.samples) < LEAST_BLOCKS or sent < len(self.events) * self.plan["repetitions"]:
            return False
        enough = len(cell.costs) >= self.plan["min_blocks"]
        cell.reached = enough and cell.relative_half_width <= self.plan["precision"]
        return cell.reached or cell.seconds >= self.plan["max_seconds"]

    def _why(self, cell: Cell) -> str:
        samples = [sample for block in cell.samples for sample in block]
        return why_failed(samples)

    def _memory(self, cell: Cell) -> None:
        """Reads the memory: between the blocks, for it takes a while."""
        pids = {"client": self.crew.pids(cell.concurrency), "server": self.server_pids}
        for side, own in pids.items():
            now = None if own is None else host.pss_mib(own)
            if now is not None:
                key = f"{side}_pss_mib"
                setattr(cell, key, max(now, getattr(cell, key) or 0.0))


def why_failed(samples: Sequence[Sample]) -> str:
    """What became of samples, some of which have no answer: how many, and the last one's error."""
    numbers = Counter(sample.status for sample in samples)
    text = {"failed": "failed", "rejected": "were turned away by the server"}
    told = [
        f"{numbers[s]} of {len(samples)} requests {how}" for s, how in text.items() if numbers[s]
    ]
    last = next(sample.error for sample in reversed(samples) if sample.error)
    return f"{' and '.join(told)}, the last: {last}"


def _row(done: Mapping[str, Any], client_ns: int, server_ns: int) -> dict[str, Any]:
    samples = done["samples"]
    return {
        "start_ns": min((sample.start_ns for sample in samples), default=0),
        "window_s": done["window_s"],
        "n_in_window": done["n_in_window"],
        "n_done": done["n_done"],
        "n_failed": sum(sample.status == "failed" for sample in samples),
        "client_cpu_ms": client_ns / 1e6,
        "server_cpu_ms": server_ns / 1e6,
    }


def _row_of_one(arm: str, samples: Sequence[Sample], server_ns: int) -> dict[str, Any]:
    """With one client the arms take turns event by event, and only the option uses the server."""
    own = [sample for sample in samples if sample.arm == arm]
    n_done = sum(not sample.error for sample in own)
    done = {
        "samples": own,
        "n_in_window": n_done,
        "n_done": n_done,
        "window_s": sum(sample.duration_ns for sample in own) / 1e9,
    }
    return _row(done, sum(s.cpu_ns for s in own), server_ns if arm == OPTION else 0)


def _mean_ms(arm: str, samples: Sequence[Sample]) -> float | None:
    own = [s.duration_ns for s in samples if s.arm == arm and not s.error]
    return float(np.mean(own)) / 1e6 if own else None


def affinities(crew: Crew, server_pids: Sequence[int] | None) -> dict[str, list[int]]:
    """The CPUs that every process and thread of ours may use, see ``host.affinities``."""
    return host.affinities([os.getpid(), *crew.pids(len(crew.links)), *(server_pids or ())])
