"""Checkpoints that are whole or not used: one file, its digest first, nothing unpickled but plain values and tensors."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins import CheckpointIO

from ..core.files import whole

log = logging.getLogger(__name__)

_MAGIC = b"darkhaloscope checkpoint 1\n"
_DIGEST = hashlib.sha256().digest_size


class WholeCheckpoints(CheckpointIO):
    """Write the training library's checkpoints whole, with a digest that is checked when they are read."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint under a temporary name, then rename it."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        payload = buffer.getvalue()
        with whole(path) as temporary:
            temporary.write_bytes(_MAGIC + hashlib.sha256(payload).digest() + payload)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint; always with `weights_only`, whatever is asked.

        Raises
        ------
        ValueError
            The file is not a whole checkpoint.
        """
        content = Path(path).read_bytes()
        start = len(_MAGIC) + _DIGEST
        payload = content[start:]
        if not content.startswith(_MAGIC) or hashlib.sha256(payload).digest() != content[len(_MAGIC) : start]:
            raise ValueError(f"{path}: not a whole checkpoint")
        return torch.load(io.BytesIO(payload), map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def usable_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the checkpoint at `path`, or None when there is none that is whole."""
    if not path.exists():
        return None
    try:
        return WholeCheckpoints().load_checkpoint(path)
    except Exception as error:  # whatever is wrong with the file, training from the start is right
        log.warning("%s is not used: %s; training starts from the beginning", path, error)
        return None
