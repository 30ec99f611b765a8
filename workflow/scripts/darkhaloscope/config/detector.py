"""What every kind of detector has: a description, and what evaluation and report ask of it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .base import Section

Channels = Literal["flux", "velocity", "both", "mask", "bands"]


class Detector(Section):
    """Anything that gives stamps a score; `kind` and `channels` are fields of each kind."""

    description: str = Field("", description="One sentence for the report")

    #: Whether each training seed of an experiment makes one of its own; others have seed 0 alone.
    seeded: ClassVar[bool] = False
    #: Whether it was made from examples, here or elsewhere.
    learnt: ClassVar[bool] = True

    def seeds_of(self, trained: tuple[int, ...]) -> tuple[int, ...]:
        """Return the seeds of this detector's tables of scores in an experiment that trains with these."""
        return trained if self.seeded else (0,)


class NotTrained(Detector):
    """A detector without training of its own: what networks alone can differ in is as in a plain network."""

    rounds: ClassVar[int] = 1
    shuffle_velocity: ClassVar[bool] = False
    label_blind: ClassVar[bool] = True
