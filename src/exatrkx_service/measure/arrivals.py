"""When the requests of an open loop are due, and how many of them tell whether a limit holds."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

CONFIDENCE = 0.99
UNDER, OVER, UNDECIDED = "under", "over", "undecided"


def arrival_times(rate_evt_s: float, count: int, seed: int) -> np.ndarray:
    """The times of a Poisson process.

    The same seed gives the same pattern at every rate, only faster or slower: two rates, or two
    options, differ by themselves and not by luck (common random numbers).

    Args:
        rate_evt_s: mean number of arrivals per second.
        count: number of arrivals.
        seed: of the random numbers.

    Returns:
        int64 (count,), ascending: nanoseconds after the beginning.
    """
    gaps_s = np.random.default_rng(seed).exponential(1.0, count) / rate_evt_s
    return (np.cumsum(gaps_s) * 1e9).astype(np.int64)


def verdict(n: int, n_over: int, quantile: float, confidence: float = CONFIDENCE) -> str:
    """Whether a quantile of the latency lies under a limit.

    The rule by which MLPerf Inference ends a run (its "early stopping"): if the quantile were over
    the limit, each request would be over it with a probability of at least 1 − quantile, and so
    few of them as were found would be a chance of at most 1 − confidence. The same with the sides
    exchanged tells that it is over. It takes requests for independent; those in a queue are not
    quite, so a rate also has to last for a while.

    Source: V. J. Reddi et al., MLPerf Inference Benchmark (2020), arXiv:1911.02549; the file
    early_stopping of LoadGen, with tolerance 0.

    Args:
        n: requests.
        n_over: those of them that took longer than the limit.
        quantile: between 0 and 1.
        confidence: of the answer.

    Returns:
        ``under``, ``over``, or ``undecided``: these are too few to tell.
    """
    if binom.cdf(n_over, n, 1 - quantile) <= 1 - confidence:
        return UNDER
    if binom.sf(n_over - 1, n, 1 - quantile) <= 1 - confidence:
        return OVER
    return UNDECIDED


def queries_needed(n_over: int, quantile: float, confidence: float = CONFIDENCE) -> int:
    """The smallest number of requests that is ``under`` with ``n_over`` of them over the limit."""
    low, high = n_over, n_over + 1
    while verdict(high, n_over, quantile, confidence) != UNDER:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if verdict(middle, n_over, quantile, confidence) == UNDER:
            high = middle
        else:
            low = middle
    return high
