"""How fast a transfer goes, for the log and for the caller."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

#: Progress is logged this often [s].
PROGRESS_EVERY_S = 5.0


@dataclass(frozen=True)
class Progress:
    """How far a download is. Total and time left are None where the server does not say the length."""

    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float
    left_s: float | None


class Meter:
    """Counts bytes, and tells the log and the caller how fast they come."""

    def __init__(self, name: str, tell: Callable[[Progress], None] | None) -> None:
        self.name = name
        self._tell = tell

    def start(self, done: int, total: int | None) -> None:
        self._first, self._done, self._total = done, done, total
        self._began = self._told = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() - self._told >= PROGRESS_EVERY_S:
            self._report()

    def finish(self) -> None:
        if self._tell is not None:
            self._tell(self._now())

    def _report(self) -> None:
        self._told = time.monotonic()
        now = self._now()
        share = f" of {size_text(now.total_bytes)} ({now.done_bytes / max(now.total_bytes, 1):.0%})" if now.total_bytes is not None else ""
        left = f", {now.left_s:.0f} s left" if now.left_s is not None else ""
        log.info("%s: %s%s, %s/s%s", self.name, size_text(now.done_bytes), share, size_text(now.bytes_per_s), left)
        if self._tell is not None:
            self._tell(now)

    def _now(self) -> Progress:
        rate = (self._done - self._first) / max(time.monotonic() - self._began, 1e-9)
        left = (self._total - self._done) / rate if self._total is not None and rate > 0 else None
        return Progress(self._done, self._total, rate, left)


def size_text(count: float) -> str:
    """Return a number of bytes with its unit, to three digits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
