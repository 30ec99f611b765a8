"""Hard controls: those of the training sky that a network scores highest, for the next round of training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..config.network import Mining
from ..core.tables import Column, Schema, TableError, read_columns
from .index import Emphasis, Extra
from .networks import Classifier
from .scaling import LearningError
from .score import score_split
from .sky import OBJECT_ARCSEC, chord, near, positions, vectors

log = logging.getLogger(__name__)

#: A control this near to a known lens may show its arcs.
LENS_ARCSEC = 5.0

MINED = Schema(
    "mined",
    (
        Column("dataset", "string", "", "Dataset whose training controls it comes from"),
        Column("stamp_id", "string", "", "Identifier of the stamp"),
        Column("number", "int64", "", "Number of the stamp in its dataset"),
        Column("ra", "float64", "deg", "Right ascension"),
        Column("dec", "float64", "deg", "Declination"),
        Column("contaminant_class", "string", "", "What the object is, where that is known; null elsewhere", nullable=True),
        Column("score", "float64", "", "Score of the round before"),
    ),
)


def mine_hard_negatives(
    classifier: Classifier,
    training: Mapping[str, Sequence[str | Path]],
    held_out: Sequence[str | Path],
    lenses: tuple[NDArray, NDArray],
    mining: Mining,
    threads: int = 1,
) -> dict[str, list | NDArray | pa.Array]:
    """Score training controls and return the hardest, one stamp per object, hardest first.

    Left out are controls within `LENS_ARCSEC` of a known lens, and within `OBJECT_ARCSEC` of the dataset's own validation and test
    stamps, also where an extra dataset covers the same sky. Other test sets decide nothing here, so that a new one leaves a
    finished network as it is: `score_stamps` leaves their stamps out where they show what the network was trained on.

    Parameters
    ----------
    classifier : network of the round before
    training : training shards by dataset, the network's own dataset first
    held_out : validation and test shards of the network's own dataset
    lenses : right ascensions and declinations of known lenses [deg]
    mining : how many are taken: a share of all scored controls
    threads : CPU threads

    Returns
    -------
    dict
        Columns of `MINED`.

    Raises
    ------
    TableError, LearningError
        As `score_split`; also when no control is left.
    """
    columns: dict[str, list] = {c.name: [] for c in MINED.columns}
    for dataset, paths in training.items():
        found = score_split(paths, classifier, threads, controls_only=True)
        n = len(found.numbers)
        columns["dataset"].append(np.full(n, dataset))
        columns["number"].append(found.numbers)
        columns["score"].append(found.score)
        columns["stamp_id"].append(found.table["stamp_id"].to_numpy(zero_copy_only=False))
        kinds = found.table["contaminant_class"] if "contaminant_class" in found.table.column_names else pa.nulls(n, pa.string())
        columns["contaminant_class"].append(np.asarray(kinds.to_pylist(), object))
        for name in ("ra", "dec"):
            columns[name].append(_position(found.table, name, dataset))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    total = len(joined["number"])
    sky = vectors(joined["ra"], joined["dec"])
    near_lens = near(sky, vectors(*lenses), LENS_ARCSEC)
    judged = near(sky, vectors(*positions(held_out)), OBJECT_ARCSEC)
    order = np.lexsort((joined["number"], joined["dataset"], -joined["score"]))
    order = order[~(near_lens | judged)[order]]
    kept = order[_first_of_objects(sky[order], min(max(round(mining.share * total), 1), mining.most))]
    log.info(
        "%d controls scored; left out: %d near known lenses, %d near validation or test stamps",
        *(total, near_lens.sum(), (judged & ~near_lens).sum()),
    )
    if not len(kept):
        raise LearningError(f"none of the {total} training controls may be mined: all lie near known lenses or validation and test stamps")
    log.info("%d objects mined, scores %.4f to %.4f", len(kept), joined["score"][kept[-1]], joined["score"][kept[0]])
    return {name: values[kept] for name, values in joined.items()}


def training_additions(
    mined: Sequence[pa.Table],
    own: str,
    extra: Mapping[str, Sequence[str | Path]],
    mining: Mining,
    known: Sequence[str | Path] = (),
    known_weight: float = 0.0,
    real: Sequence[str | Path] = (),
    real_copies: int = 0,
) -> tuple[list[Extra], Emphasis | None]:
    """Return what joins the training stamps of a round, and which of them weigh more.

    Parameters
    ----------
    mined : tables of `mine_hard_negatives`, of all rounds before
    own : the training dataset's name
    extra : training shards of each extra dataset
    known : table of known lenses; those of the training sky join, each of weight `known_weight`
    real : table of real galaxies with labels, lenses and look-alikes; those of the training sky join, each `real_copies` times: few
        objects teach more when each is seen turned in several ways
    """
    numbers: dict[str, NDArray] = {}
    for table in mined:
        for dataset in pc.unique(table["dataset"]).to_pylist():
            some = table.filter(pc.equal(table["dataset"], dataset))["number"].to_numpy()
            numbers[dataset] = np.union1d(numbers.get(dataset, some), some)
    emphasis = Emphasis(numbers[own], mining.weight) if own in numbers else None
    extras = [Extra(tuple(extra[name]), mining.weight, numbers[name]) for name in extra if name in numbers]
    for tables, weight, copies in ((known, known_weight, 1), (real, 1.0, real_copies)):
        if tables and weight > 0 and copies:
            sky = pa.concat_tables([read_columns(path, ["number", "split"]) for path in tables])
            extras += [Extra(tuple(tables), weight, sky.filter(pc.equal(sky["split"], "train"))["number"].to_numpy())] * copies
    return extras, emphasis


def copies_for(share: float, train: Sequence[str | Path], real: Sequence[str | Path]) -> int:
    """Return how often each real galaxy of the training sky is shown so that they are some share of an epoch's stamps; 0 without any.

    Parameters
    ----------
    share : 0 to below 1
    train : training shards
    real : tables of real galaxies with labels
    """
    joining = sum(int(pc.sum(pc.equal(read_columns(path, ["split"])["split"], "train")).as_py() or 0) for path in real)
    stamps = sum(len(read_columns(path, ["number"])) for path in train)
    return max(round(share / (1 - share) * stamps / joining), 1) if joining and share > 0 else 0


def _first_of_objects(sky: NDArray, wanted: int) -> NDArray:
    """Return the places of the first stamp of each of the first `wanted` objects; `sky` is sorted by preference, (n, 3)."""
    looked = 0
    first: list[int] = []
    while len(first) < wanted and looked < len(sky):
        looked = min(max(2 * looked, 2 * wanted), len(sky))
        taken, first = np.zeros(looked, bool), []
        for k, beside in enumerate(cKDTree(sky[:looked]).query_ball_point(sky[:looked], chord(OBJECT_ARCSEC))):
            if not taken[k]:
                first.append(k)
                taken[beside] = True
    return np.array(first[:wanted], int)


def _position(table: pa.Table, name: str, dataset: str) -> NDArray:
    if name not in table.column_names or table[name].null_count:
        raise TableError(
            f"training stamps of {dataset}: column `{name}` is missing or has gaps; mining tells objects apart by their positions"
        )
    return table[name].to_numpy()
