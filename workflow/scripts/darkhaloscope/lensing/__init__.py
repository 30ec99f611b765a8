"""Lens profiles, ray shooting, rendering, observation, and the lenstronomy reference."""

import contextlib
from pathlib import Path

#: Modules with compiled loops, which call one another.
COMPILED = ("kernels", "disks", "sampling")


def drop_stale_loops(folder: Path) -> None:
    """Remove compiled loops that are older than a module of them.

    Numba compiles a function again when its own file changed, not when a function that it calls, in another file, did:
    an edit of `kernels.py` would leave the old physics in the loops of `sampling.py`.
    """
    newest = max((folder / f"{name}.py").stat().st_mtime for name in COMPILED)
    for index in (folder / "__pycache__").glob("*.nbi"):
        # Another job may have removed it; where the folder is read-only numba keeps its files elsewhere.
        with contextlib.suppress(OSError):
            if index.stat().st_mtime < newest:
                index.unlink()


drop_stale_loops(Path(__file__).parent)
