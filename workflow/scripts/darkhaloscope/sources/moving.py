"""Kinds of sources with velocities, for the subhalo task: a line each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ..config.sources import MOVING, columns_of
from . import disk, hybrid, manga
from .kinds import Draws, Moving, Registered
from .source import SourceError

#: By their names in `sources.mix`; each has an entry in `config.sources` as well.
KINDS: dict[str, Moving] = Registered(manga=manga.MOVING, disk=disk.MOVING, hybrid=hybrid.MOVING)


def draw_sources(draws: Draws, kind: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    """Draw the parameters of n rows' sources, each as its kind does.

    Parameters
    ----------
    draws : Draws
    kind : (n,) names of kinds

    Returns
    -------
    dict
        `src_phi_rad`, `src_flip` and `src_scale`, and those of the kinds' entries in `config.sources`, null where a row's kind lacks them.

    Raises
    ------
    SourceError
        A kind draws a column that its entry in `config.sources` does not name.
    """
    n = len(kind)
    out = {"src_phi_rad": 2 * np.pi * draws.u["src_phi"], "src_flip": np.zeros(n, bool), "src_scale": np.ones(n)}
    known = columns_of(MOVING)
    missing: dict[str, np.ndarray] = {}
    for name in np.unique(kind):
        rows = kind == name
        for column, values in KINDS[name].draw(draws).items():
            if column not in out:
                if column not in known:
                    raise SourceError(f"{name} sources draw a column `{column}`, which their entry in config.sources does not name")
                out[column] = np.full(n, None) if values.dtype.kind in "OU" else np.zeros(n, values.dtype)
                missing[column] = np.ones(n, bool)
            out[column][rows] = values[rows]
            if column in missing:
                missing[column][rows] = False
    drawn = {column: pa.array(values, mask=missing.get(column)) for column, values in out.items()}
    return {column: pa.nulls(n) for column in known} | drawn
