"""A file that is still arriving, and what identifies the remote file that it is part of."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..core.files import write_json
from .addresses import without_credentials
from .checks import partial_name


class BrokenTransfer(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, message: str, *, early_end: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.early_end = early_end
        self.wait_s = wait_s


class Partial:
    """The growing file and what identifies the remote file that it is part of."""

    def __init__(self, destination: Path, url: str) -> None:
        self.path = destination.with_name(partial_name(destination.name))
        self._state_path = self.path.with_name(self.path.name + ".json")
        self._url = without_credentials(url)
        self.validator: str | None = None
        self.total: int | None = None

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def load(self) -> int:
        """Read what an earlier attempt or run left; return the number of bytes to continue after."""
        try:
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            known = state["url"] == self._url and isinstance(state["validator"], str) and isinstance(state["total"], int)
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known or not 0 < self.size <= state["total"]:
            self.delete()
            return 0
        self.validator, self.total = state["validator"], state["total"]
        return self.size

    def begin(self, validator: str | None, total: int | None) -> None:
        """Start over, for a remote file so identified."""
        self.delete()
        self.validator, self.total = validator, total
        self.path.touch()
        if validator is not None and total is not None:
            write_json(self._state_path, {"url": self._url, "validator": validator, "total": total})

    @property
    def can_resume(self) -> bool:
        return self.size > 0 and self._state_path.exists()

    def check_length(self) -> None:
        if self.total is not None and self.size != self.total:
            raise BrokenTransfer(f"{self.size} of {self.total} bytes arrived", early_end=self.size < self.total)

    def become(self, destination: Path) -> int:
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())
        size = self.size
        os.replace(self.path, destination)
        self.delete()
        return size

    def delete(self) -> None:
        self.validator = self.total = None
        self._state_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
