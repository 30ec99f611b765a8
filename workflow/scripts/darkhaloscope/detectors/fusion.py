"""Two networks as one detector: their margins in a logistic regression, fitted on validation stamps, judged on test stamps.

Each network keeps its own inputs. So velocity with label-blind maps, which must not lie beside the flux in one network
(docs/science.md), can be joined to the flux all the same: of either, only one number per stamp is seen here.

    python -m darkhaloscope.detectors.fusion SCORES SCORES

prints the comparison for two tables of scores of the same stamps.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from ..core.intervals import delong_difference, delong_interval
from ..core.rates import auc, rank
from ..core.tables import TableError
from .schema import read_score_table

COLUMNS = ("stamp_id", "split", "label", "detector", "score")
#: Scores nearer to 0 or 1 than this have margins of no more than 27.6.
SATURATED = 1e-12


class FusionError(ValueError):
    """Two tables of scores cannot be joined; the message says which and why."""


@dataclass(frozen=True)
class Fusion:
    """Scores of the test stamps by two networks and by both together, row by row the same stamps.

    Attributes
    ----------
    names : the two networks
    label : (n,) bool
    scores : (n,) each, those of the two networks
    fused : (n,) log-odds of both together
    weights : of the two margins
    """

    names: tuple[str, str]
    label: NDArray[np.bool_]
    scores: tuple[NDArray[np.float64], NDArray[np.float64]]
    fused: NDArray[np.float64]
    weights: tuple[float, float]

    def compared(self) -> pd.DataFrame:
        """Return the AUC of each network and of both together, and what both together add to each, with 95% intervals (DeLong)."""
        rows = []
        for name, score in (*zip(self.names, self.scores, strict=True), (" + ".join(self.names), self.fused)):
            ranked = rank(score, self.label)
            rows.append((name, "auc", auc(ranked), *delong_interval(ranked)))
        for name, score in zip(self.names, self.scores, strict=True):
            added = delong_difference(score, self.fused, self.label)
            rows.append((f"{' + '.join(self.names)} against {name}", "delta_auc", added.value, added.low, added.high))
        return pd.DataFrame(rows, columns=["network", "metric", "value", "low", "high"])


def fuse(one: pa.Table, other: pa.Table) -> Fusion:
    """Fit two networks' margins together on the validation stamps of their tables, and apply the fit to the test stamps.

    Parameters
    ----------
    one, other : tables of scores with `stamp_id`, `split`, `label`, `detector` and `score`

    Raises
    ------
    FusionError
        The tables hold other stamps or labels, or no validation or test stamps of both classes.
    """
    frames = [t.select(list(COLUMNS)).to_pandas().set_index("stamp_id") for t in (one, other)]
    names = tuple(str(f["detector"].iloc[0]) if len(f) else "?" for f in frames)
    if len(frames[0]) != len(frames[1]) or set(frames[0].index) != set(frames[1].index):
        raise FusionError(f"the scores of {names[0]} and {names[1]} are of other stamps: give two tables of one test dataset")
    frames[1] = frames[1].loc[frames[0].index]
    if (frames[0]["label"] != frames[1]["label"]).any():
        raise FusionError(f"the scores of {names[0]} and {names[1]} give other labels to the same stamps")
    label, split = frames[0]["label"].to_numpy(bool), frames[0]["split"].to_numpy()
    fitted, judged = split == "validation", split == "test"
    for which, rows in (("validation", fitted), ("test", judged)):
        if len(np.unique(label[rows])) < 2:
            raise FusionError(f"no {which} stamps of both classes: the table of the dataset that the networks were trained on has them")
    margins = logit(np.clip(np.stack([f["score"].to_numpy(np.float64) for f in frames], 1), SATURATED, 1 - SATURATED))
    fit = LogisticRegression(C=1e6, max_iter=1000).fit(margins[fitted], label[fitted])
    scores = tuple(f["score"].to_numpy(np.float64)[judged] for f in frames)
    return Fusion(names, label[judged], scores, fit.decision_function(margins[judged]), tuple(map(float, fit.coef_[0])))


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison of two tables of scores; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m darkhaloscope.detectors.fusion", description="Two networks as one detector.")
    parser.add_argument("scores", nargs=2, help="detectors/{dataset}/{detector}/seed-{seed}/scores/{dataset}.parquet")
    try:
        found = fuse(*(read_score_table(path, COLUMNS) for path in parser.parse_args(arguments).scores))
    except (FusionError, TableError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"weights of the margins: {found.weights[0]:.2f} {found.names[0]}, {found.weights[1]:.2f} {found.names[1]}")
    print(found.compared().to_string(index=False, float_format=lambda v: f"{v:.4f}"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
