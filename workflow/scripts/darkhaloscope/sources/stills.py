"""Kinds of sources without velocities, for the lens finder: a line each."""

from __future__ import annotations

from ..config.sources import STILL, columns_of
from ..core.tables import Column
from . import cosmos, emission, sersic
from .kinds import Still

#: By their names in `sources.mix`; each has an entry in `config.sources` as well.
KINDS: dict[str, Still] = {"sersic": sersic.STILL, "cosmos": cosmos.STILL, "manga": emission.STILL}

#: The input of a rule that holds what a kind needs.
INPUTS = {"catalog": "cosmos", "sample": "bank", None: None}
#: Columns of the shared priors that some kinds have.
PROPERTIES = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.properties))


def kind_columns() -> tuple[Column, ...]:
    """Return the columns of a row that not every kind of source has: null for the others and for controls."""
    return tuple(
        Column(name, dtype, unit, f"{text}; null for controls", nullable=True) for name, (dtype, unit, text) in columns_of(STILL).items()
    )


def own_columns() -> tuple[Column, ...]:
    """Return those of them that kinds draw themselves."""
    return tuple(c for c in kind_columns() if c.name not in ("source_id", *PROPERTIES))
