"""Our driver and Triton's own, perf_analyzer, on the same server, models and events.

Both send the same requests in a closed loop: each client has the events of a block in an order of
its own, and sends the next when the one before is answered. They take turns, in random order, so
that the machine's noise hits both alike; what is compared is the ratio within each pair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tritonclient.utils import InferenceServerException

from exatrkx_service.client.remote import Client
from exatrkx_service.measure.calls import Calls, Figures, figures, null_tensors, send_calls
from exatrkx_service.measure.clients import Crew, Task, clients
from exatrkx_service.measure.estimate import trimmed_mean
from exatrkx_service.measure.lock import only_measurement
from exatrkx_service.measure.perf_analyzer import NoPerfAnalyzer, PerfAnalyzer, PerfAnalyzerError
from exatrkx_service.measure.plan import blocks
from exatrkx_service.measure.warmup import pick_events, sweep_until_warm
from exatrkx_service.options import ENSEMBLE, FUSED, NULL, STAGES
from exatrkx_service.pipeline import device as devices
from exatrkx_service.pipeline.pipeline import local_pipeline
from exatrkx_service.pipeline.tensors import NULL_SPEC, SPECS, WHOLE_SPEC, to_numpy
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.launch import launch
from exatrkx_service.serving.server import Server

MODELS = {
    "embedding": SPECS["embedding"],
    "gnn": SPECS["gnn"],
    ENSEMBLE: WHOLE_SPEC,
    FUSED: WHOLE_SPEC,
    NULL: NULL_SPEC,
}
QUANTITIES = {"p50": "p50_ms", "p95": "p95_ms", "rate": "rate_evt_s"}
EDGES = ("", "_low", "_high")  # of a ratio: its value and its interval
AGREEMENT_COLUMNS = (
    *("model", "concurrency"),
    *(
        column
        for name, unit in QUANTITIES.items()
        for column in (f"ours_{unit}", f"theirs_{unit}", *(f"{name}_ratio{e}" for e in EDGES))
    ),
    *("n_windows", "reason"),
)
OURS, THEIRS = "ours", "theirs"
WINDOW = 4  # length of a window of either driver, in `measure.block_s`
FIRST = 8  # requests of each client from which the length of a window is found
# perf_analyzer writes all tensors that it sent and got into its export, as text.
MOST_BYTES = 16 * 2**20
LEAST = 2  # requests of each client in a window: for a rate


def row_of(
    model: str, concurrency: int, pairs: Sequence[Mapping[str, Figures]], reason: str = ""
) -> dict[str, Any]:
    """A row of the table, see ``AGREEMENT_COLUMNS``.

    Args:
        model: name of the Triton model.
        concurrency: number of clients.
        pairs: what both drivers found in each pair of windows.
        reason: why there are no, or fewer, windows.
    """
    row: dict[str, Any] = {"model": model, "concurrency": concurrency}
    for place, (name, unit) in enumerate(QUANTITIES.items()):
        values = {who: np.array([pair[who][place] for pair in pairs]) for who in (OURS, THEIRS)}
        row |= {f"{who}_{unit}": trimmed_mean(own).value for who, own in values.items()}
        # Of the logarithms: which of the two is above the line must not matter.
        ratio = np.exp(trimmed_mean(np.log(values[OURS] / values[THEIRS])))
        row |= {f"{name}_ratio{edge}": value for edge, value in zip(EDGES, ratio, strict=True)}
    return row | {"n_windows": len(pairs), "reason": reason}


class Comparison:
    """Both drivers on one server.

    Args:
        server: with all of ``MODELS``.
        protocol: ``grpc`` or ``http``.
        crew: our clients.
        analyzer: perf_analyzer.
        plan: the ``measure`` section of the configuration.
        events: space points by event number.
        tensors: of each event, all that flows between the stages, by name.
    """

    def __init__(
        self,
        server: Server,
        protocol: str,
        crew: Crew,
        analyzer: PerfAnalyzer,
        plan: Mapping[str, Any],
        events: Mapping[int, np.ndarray],
        tensors: Mapping[int, Mapping[str, np.ndarray]],
    ) -> None:
        self.url = server.url(protocol)
        self.server, self.protocol, self.crew, self.analyzer = server, protocol, crew, analyzer
        self.plan, self.events, self.tensors = plan, events, tensors

    def requests(self, model: str) -> dict[int, dict[str, np.ndarray]]:
        """The inputs of a model for each event."""
        if model == NULL:
            # As large as what goes to and comes from the fused model.
            return {
                event: null_tensors(of["space_points"].nbytes, of["labels"].nbytes)
                for event, of in self.tensors.items()
            }
        names = MODELS[model].inputs
        return {event: {name: of[name] for name in names} for event, of in self.tensors.items()}

    def warm_up(self, model: str, client: Client) -> None:
        """Sends events of all sizes until a model is warm."""
        requests = self.requests(model)
        chosen = [requests[event] for event in pick_events(self.events, self.plan["warmup_events"])]
        spec = MODELS[model]
        calls = Calls(model, spec.inputs, spec.output, chosen, [range(len(chosen))])
        sweep_until_warm(lambda sweep: send_calls(0, calls, f"warmup/{model}/{sweep}", client))

    def pairs(self, model: str, concurrency: int, seed: int) -> Iterator[dict[str, Figures]]:
        """What both drivers find in pairs of windows, one after the other, without end."""
        rng = np.random.default_rng(seed)
        requests, spec = self.requests(model), MODELS[model]
        size = self._size(model, concurrency, requests, rng)
        for number, block in enumerate(blocks(self.events, size, 1, rng)):
            sent = [requests[event] for event, _ in block]
            orders = [rng.permutation(len(sent)).tolist() for _ in range(concurrency)]
            calls = Calls(model, spec.inputs, spec.output, sent, orders)
            drivers = {
                OURS: partial(self._ours, calls, f"c{concurrency}/{number}"),
                THEIRS: partial(self._theirs, calls),
            }
            yield {who: figures(drivers[who]()) for who in rng.permutation([OURS, THEIRS]).tolist()}

    def _size(
        self, model: str, concurrency: int, requests: Mapping, rng: np.random.Generator
    ) -> int:
        """Requests of each client in a window, from a first one that is not recorded."""
        spec, few = MODELS[model], next(blocks(self.events, FIRST, 1, rng))
        sent = [requests[event] for event, _ in few]
        calls = Calls(model, spec.inputs, spec.output, sent, [range(len(sent))] * concurrency)
        times = self._ours(calls, f"first/c{concurrency}")
        seconds = (max(own[-1, 1] for own in times) - min(own[0, 0] for own in times)) / 1e9
        wanted = len(sent) * WINDOW * self.plan["block_s"] / seconds
        # What perf_analyzer is sent and gets; that of NULL is as large as the labels.
        answer = spec.output if model != NULL else "labels"
        n_bytes = np.mean(
            [
                self.tensors[event][answer].nbytes + sum(array.nbytes for array in of.values())
                for event, of in requests.items()
            ]
        )
        return max(LEAST, min(round(wanted), int(MOST_BYTES / n_bytes / concurrency)))

    def _ours(self, calls: Calls, tag: str) -> list[np.ndarray]:
        return self.crew.call(
            len(calls.orders), calls, f"{calls.model}/{tag}", self.server.check_alive
        )

    def _theirs(self, calls: Calls) -> list[np.ndarray]:
        self.server.check_alive()
        turns = zip(*calls.orders, strict=True)
        requests = [calls.tensors[which] for turn in turns for which in turn]
        timeout_s = self.plan["request_timeout_s"] * max(map(len, calls.orders))
        try:
            return self.analyzer.times(
                self.url, self.protocol, calls.model, requests, len(calls.orders), timeout_s
            )
        except PerfAnalyzerError:
            self.server.check_alive(wait_s=2)  # that it died explains more
            raise


def measure_agreement(
    events: Mapping[int, np.ndarray],
    model_repository: Path,
    config: Mapping[str, Any],
    cache: Path,
    work: Path,
    log: Path,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Compares the drivers at each of ``MODELS`` and each of ``measure.concurrency``.

    Args:
        events: space points by event number.
        model_repository: of this configuration, with the exported networks.
        config: the sections ``pipeline`` (see ``identity.with_networks``), ``server`` and
            ``measure`` of the configuration.
        cache: folder that keeps the program perf_analyzer.
        work: an empty folder for the server's files.
        log: file for the server's output.
        say: gets one line per model and concurrency.

    Returns:
        The table, see ``AGREEMENT_COLUMNS``. Where perf_analyzer can't run, its rows have no
        numbers and say why.

    Raises:
        ServerError: a server did not start.
        InferenceServerException: a request of the warm-up failed.
    """
    plan, settings = config["measure"], config["server"]
    try:
        if settings["launcher"] == "external":
            raise NoPerfAnalyzer("server.launcher: external: expected a server of this job's own")
        analyzer = PerfAnalyzer(cache)
    except NoPerfAnalyzer as error:
        say(f"skipped: {error}")
        rows = [row_of(model, c, [], str(error)) for model in MODELS for c in plan["concurrency"]]
        return pd.DataFrame(rows, columns=[*AGREEMENT_COLUMNS])
    devices.settle(config["pipeline"]["threads"])
    local = local_pipeline(model_repository, config["pipeline"])
    tensors = {
        event: {name: to_numpy(tensor) for name, tensor in local(points).items()}
        for event, points in events.items()
    }
    rows = []
    with only_measurement("agreement with perf_analyzer", say):
        for model in MODELS:
            pending = list(plan["concurrency"])
            for start in count(1):
                folder = work / f"{model}-{start}"
                with _comparing(
                    model, model_repository, config, events, tensors, analyzer, folder, log
                ) as comparison:
                    rows += _measure(comparison, model, pending, plan["min_blocks"], say)
                if not pending:
                    break
    return pd.DataFrame(rows, columns=[*AGREEMENT_COLUMNS])


@contextlib.contextmanager
def _comparing(
    model: str,
    model_repository: Path,
    config: Mapping[str, Any],
    events: Mapping[int, np.ndarray],
    tensors: Mapping[int, Mapping[str, np.ndarray]],
    analyzer: PerfAnalyzer,
    work: Path,
    log: Path,
) -> Iterator[Comparison]:
    """A server with a model, warm, and our clients; see ``measure_agreement``."""
    pipeline, settings, plan = (config[key] for key in ("pipeline", "server", "measure"))
    names = [*STAGES, ENSEMBLE] if model == ENSEMBLE else [model]
    largest = {
        name: max(of[name].nbytes for of in tensors.values()) for name in tensors[min(tensors)]
    }
    protocol = settings["protocol"]
    with launch(
        *(model_repository, names, work, settings, pipeline), log=log, largest=largest
    ) as server:
        url = server.url(protocol)
        timeout_s = plan["request_timeout_s"]
        task = Task(
            *(None, model_repository, pipeline, protocol, url), timeout_s=timeout_s, control=False
        )
        with clients(plan["clients"], max(plan["concurrency"]), task, events) as crew:
            crew.ready(server.check_alive)
            comparison = Comparison(server, protocol, crew, analyzer, plan, events, tensors)
            with contextlib.closing(task.connect()) as client:
                comparison.warm_up(model, client)
            yield comparison


def _measure(
    comparison: Comparison,
    model: str,
    pending: list[int],
    n_windows: int,
    say: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Takes one concurrency after the other from ``pending``; ends early if the server has died.

    At a high rate Triton's Python backend ends now and then: that costs a row, and no more.
    """
    while pending:
        concurrency = pending.pop(0)
        pairs: list[dict[str, Figures]] = []
        reason, over = "", False
        try:
            for pair in islice(comparison.pairs(model, concurrency, seed=concurrency), n_windows):
                pairs.append(pair)  # those before a failure count
        except PerfAnalyzerError as error:
            reason = str(error)
        except (ServerError, InferenceServerException) as error:
            reason, over = str(error).partition("; the end of its log")[0], True
        row = row_of(model, concurrency, pairs, reason)
        ratios = ", ".join(
            f"{name} {row[f'{name}_ratio']:.3f} [{row[f'{name}_ratio_low']:.3f}, "
            f"{row[f'{name}_ratio_high']:.3f}]"
            for name in QUANTITIES
        )
        say(f"{model}, {concurrency} clients, ours / theirs: {reason or ratios}")
        yield row
        if over:
            return
