"""Where networks run, and in which arithmetic."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

from .scaling import LearningError

Arithmetic = Literal["float32", "bfloat16", "float16"]


def find_device() -> torch.device:
    """Return the GPU that torch sees, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def training_arithmetic(asked: str, device: torch.device) -> Arithmetic:
    """Return the arithmetic for training: what is asked, or, for `auto`, bfloat16 on a GPU that computes in it and else float32.

    Raises
    ------
    LearningError
        float16 is asked for on a CPU.
    """
    gpu = device.type == "cuda"
    if asked == "auto":
        # Older GPUs emulate bfloat16, slower than float32.
        return "bfloat16" if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if asked == "float16" and not gpu:
        raise LearningError("training.precision float16 needs a GPU, and there is none here; set it to auto, float32 or bfloat16")
    return asked


@contextlib.contextmanager
def repeatable_float32() -> Iterator[None]:
    """Compute convolutions on a GPU in full float32, by the same algorithm each time; on a CPU they are so anyway."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
