"""Several detectors as one: their margins in a logistic regression, fitted on validation stamps.

Each member keeps its own inputs. So velocity with label-blind maps, which must not lie beside the flux in one network
(docs/science.md), can be joined to the flux all the same: of either, only one number per stamp is seen here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from .schema import score_columns

#: Scores nearer to 0 or 1 than this have margins of no more than 27.6.
SATURATED = 1e-12

#: Score tables of each member by its name, one for each training seed.
Members = Mapping[str, Sequence[pa.Table]]


class FusionError(ValueError):
    """Tables of scores cannot be joined; the message says which and why."""


@dataclass(frozen=True)
class Fusion:
    """A fitted fusion: log-odds = intercept + Σ weight × margin of the member.

    Attributes
    ----------
    names : the members
    weights : of their margins
    intercept : float
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float

    def log_odds(self, members: Members) -> NDArray[np.float64]:
        """Return the log-odds of being a positive, (n,), of the stamps in the order of the first member's first table."""
        return margins_of({name: members[name] for name in self.names}) @ np.array(self.weights) + self.intercept

    def plain(self) -> dict[str, Any]:
        """Return what was fitted as JSON-ready values."""
        return {"of": list(self.names), "weights": list(self.weights), "intercept": self.intercept}


def fit_fusion(members: Members) -> Fusion:
    """Fit the members' margins together on the validation stamps of their tables, those of the dataset they were trained on.

    Raises
    ------
    FusionError
        The tables hold other stamps or labels, or no validation stamps of both classes.
    """
    first = next(iter(members.values()))[0]
    rows = first.column("split").to_numpy(zero_copy_only=False) == "validation"
    label = first.column("label").to_numpy()[rows]
    if len(np.unique(label)) < 2:
        raise FusionError(
            f"no validation stamps of both classes in the scores of {', '.join(members)}: "
            "the table of the dataset that the networks were trained on has them"
        )
    fit = LogisticRegression(C=1e6, max_iter=1000).fit(margins_of(members)[rows], label)
    return Fusion(tuple(members), tuple(map(float, fit.coef_[0])), float(fit.intercept_[0]))


def fuse_scores(fusion: Fusion, members: Members, *, dataset: str, detector: str) -> dict[str, Any]:
    """Return the table of scores of a fusion, as columns, on the stamps that its members scored.

    Parameters
    ----------
    members : tables of one test dataset
    dataset, detector : names, written into each row
    """
    first = next(iter(members.values()))[0]
    score = expit(fusion.log_odds(members))
    stamps = first.select(first.column_names[len(score_columns()) :])
    given = {"dataset": pa.repeat(dataset, len(score)), "detector": pa.repeat(detector, len(score)), "seed": pa.repeat(0, len(score))}
    return {**given, "score": score, "calibrated": score, **{name: stamps[name] for name in stamps.column_names}}


def margins_of(members: Members) -> NDArray[np.float64]:
    """Return the log-odds of each member, mean over its seeds, (n, members), row by row the stamps of the first table.

    Raises
    ------
    FusionError
        The tables hold other stamps, or other labels of the same stamps.
    """
    (named, (first, *_)), *_ = members.items()
    ids, label = first.column("stamp_id").combine_chunks(), first.column("label").to_numpy()
    columns = []
    for name, tables in members.items():
        margins = []
        for table in tables:
            rows = np.asarray(pc.index_in(ids, value_set=table.column("stamp_id").combine_chunks()).fill_null(-1))
            if len(table) != len(ids) or (rows < 0).any():
                raise FusionError(f"the scores of {named} and {name} are of other stamps: give tables of one test dataset")
            if (table.column("label").to_numpy()[rows] != label).any():
                raise FusionError(f"the scores of {named} and {name} give other labels to the same stamps")
            score = table.column("score").to_numpy().astype(np.float64)[rows]
            margins.append(logit(np.clip(score, SATURATED, 1 - SATURATED)))
        columns.append(np.mean(margins, axis=0))
    return np.stack(columns, 1)
