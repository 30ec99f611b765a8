"""Kinds of sources without velocities, for the lens finder: a line each."""

from __future__ import annotations

from ..config.sources import STILL, columns_of
from . import cosmos, emission, sersic
from .kinds import Registered, Still

#: By their names in `sources.mix`; each has an entry in `config.sources` as well.
KINDS: dict[str, Still] = Registered(sersic=sersic.STILL, cosmos=cosmos.STILL, manga=emission.STILL)

#: The input of a rule that holds what a kind needs.
INPUTS = {"catalog": "cosmos", "sample": "bank", None: None}
#: Columns of the shared priors that some kinds have.
PROPERTIES = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.properties))
#: Columns that kinds draw themselves.
OWN = tuple(name for name in columns_of(STILL) if name not in ("source_id", *PROPERTIES))
