"""Requests that a server still works on though their clients have given up.

Triton computes a request to its end whatever its client does. What comes after it waits, or runs
beside it, so nothing more is measured before such requests are done; and a server that does not get
on with them hangs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from exatrkx_service.measure.statistics import StatisticsError, count_done, settled
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.server import Server

PATIENCE_S = 20  # a server that has finished no request for so long, and should have, hangs
PAUSE_S = 0.1


class Backlog:
    """What the clients of a job have sent, against what its server has done.

    Args:
        server: the server.
        models: those that clients send requests to.
        sent: gives what each client of the job has sent so far, by model.
    """

    def __init__(
        self,
        server: Server,
        models: Collection[str],
        sent: Callable[[], Iterable[Mapping[str, int]]],
    ) -> None:
        self.server = server
        self.models = sorted(models)
        self.sent = sent
        self.before = self._sent()
        self.before.subtract(settled(lambda: count_done(server, self.models)))

    def _sent(self) -> Counter[str]:
        sent: Counter[str] = Counter()
        for counts in self.sent():
            sent.update(counts)
        return sent

    def owed(self) -> Counter[str]:
        """Requests that the server took and has not done yet, by model."""
        owed = self._sent()
        owed.subtract(count_done(self.server, self.models))
        owed.subtract(self.before)
        return +owed

    def drain(self, check: Callable[[], None], patience_s: float = PATIENCE_S) -> None:
        """Waits until the server has done all that was sent to it.

        Args:
            check: called again and again meanwhile; raises if it makes no sense to wait.
            patience_s: how long it may do nothing of it [s].

        Raises:
            ServerError: it does not get on.
        """
        last, since = None, time.monotonic()
        while owed := self._ask():
            check()
            if owed != last:
                last, since = owed, time.monotonic()
            elif time.monotonic() - since > patience_s:
                counts = ", ".join(f"{count} of {model}" for model, count in owed.items())
                raise ServerError(
                    f"the server hangs: it has finished none of the requests that it owes "
                    f"({counts}) in {patience_s:g} s, after the time that their clients gave it"
                )
            time.sleep(PAUSE_S)

    def _ask(self) -> Counter[str]:
        try:
            return self.owed()
        except StatisticsError as error:
            raise ServerError(f"the server hangs: {error}") from None
