"""How fast a transfer goes, for the log."""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

#: Progress is logged this often [s].
PROGRESS_EVERY_S = 5.0


class Meter:
    """Counts bytes, and tells the log how fast they come."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, done: int, total: int | None) -> None:
        self._first, self._done, self._total = done, done, total
        self._began = self._told = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._told >= PROGRESS_EVERY_S:
            self._report()

    def _report(self) -> None:
        """Log how far a download is; share and time left are not said where the server does not say the length."""
        self._told = time.monotonic()
        rate = (self._done - self._first) / max(self._told - self._began, 1e-9)
        share = f" of {size_text(self._total)} ({self._done / max(self._total, 1):.0%})" if self._total is not None else ""
        left = f", {(self._total - self._done) / rate:.0f} s left" if self._total is not None and rate > 0 else ""
        log.info("%s: %s%s, %s/s%s", self.name, size_text(self._done), share, size_text(rate), left)


def size_text(count: float) -> str:
    """Return a number of bytes with its unit, to three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
