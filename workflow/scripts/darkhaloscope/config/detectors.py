"""The kinds of detectors: anything that gives stamps a score."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .base import FilePath, Name, any_of, kind_or
from .detector import Channels, Detector, NotTrained
from .evidence import EvidenceDetector
from .network import Network


class Fusion(NotTrained):
    """Scores of several detectors joined: a logistic regression of their margins, fitted on validation stamps."""

    #: What it joins may be, and is a detector of the experiment.
    learnt: ClassVar[bool] = False

    kind: Literal["fusion"] = Field("fusion", description="Kind of detector")
    of: tuple[Name, ...] = Field(description="Detectors whose scores are joined, two or more of the same experiment", min_length=2)
    seeds: tuple[int, ...] = Field((1,), description="Training seeds of these; margins of several seeds are averaged", min_length=1)
    channels: Channels = Field("both", description="What they see together, which names the ideal observer that they are measured against")


class ScoredElsewhere(NotTrained):
    """Scores that another program gave the stamps of this run."""

    kind: Literal["table"] = Field("table", description="Kind of detector")
    scores: dict[Name, FilePath] = Field(
        description="Parquet, CSV or FITS tables with columns `stamp_id` and `score` (a probability, 0 to 1) of the validation and test stamps, by the name of their dataset",
        min_length=1,
    )
    channels: Channels = Field(
        "both", description="What the scores were made of, which names the ideal observer that they are measured against"
    )


#: Sections of detectors by the value of their `kind`; a new kind is one section and one line here.
DETECTOR_KINDS: dict[str, type[Detector]] = {
    "network": Network,
    "fusion": Fusion,
    "table": ScoredElsewhere,
    "evidence": EvidenceDetector,
}


AnyDetector = any_of(DETECTOR_KINDS, kind_or("network"))
