"""Scores made elsewhere: Parquet or CSV with an id, a label and a score, under these or older column names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ..config.columns import SKY_CELLS
from ..config.experiment import (
    LENSFINDER_CLUSTERS,
    LENSFINDER_STRATA,
    LENSFINDER_SURFACES,
    SUBHALO_STRATA,
    SUBHALO_SURFACES,
    Evaluation,
    ScoresTable,
    Stratum,
)
from ..core.rates import EvaluationError
from .evaluate import evaluate_network
from .lazy_table import LazyTable, Pieces, parquet_pieces, table_pieces
from .scored import has_split

#: Names under which a column is recognised, the first one found counts.
ALIASES = {
    "stamp_id": ("stamp_id", "task_id", "id", "object_id", "objid"),
    "label": ("label", "is_lens", "is_positive", "y_true", "target"),
    "score": ("score", "p_lens", "prob", "probability", "p", "y_score"),
    "split": ("split", "region_split"),
}
#: True for a control: the reverse of a label.
CONTROL = ("is_control",)
#: Cells of 1.8°, where a table has positions and no regions.
DEFAULT_SKY = "healpix-32"
SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation", "testing": "test", "training": "train"}


def evaluate_table(settings: ScoresTable) -> dict[str, pd.DataFrame]:
    """Evaluate a table of scores made elsewhere.

    Parameters
    ----------
    settings : ScoresTable
        Its file, the names of its columns, and what is wanted.

    Returns
    -------
    dict of str to DataFrame
        As `evaluate_network`; the table's name is the test dataset.

    Raises
    ------
    EvaluationError
        As `open_settings` and `evaluate_network`.
    """
    table, evaluation = open_settings(settings)
    return evaluate_network({(settings.name, 0): table}, evaluation)


def open_settings(settings: ScoresTable) -> tuple[LazyTable, Evaluation]:
    """Return the table and how it is evaluated: what the settings leave open is chosen by the columns that there are.

    Raises
    ------
    EvaluationError
        As `open_scores`; or a column of strata, surfaces or clusters is not in the table.
    """
    table = open_scores(settings.table, settings.columns)
    names, asked = table.column_names, settings.evaluation
    chosen = {
        "strata": asked.strata or default_strata(names),
        "surfaces": asked.surfaces or default_surfaces(names),
        "clusters": asked.clusters or default_clusters(names),
    }
    wanted = {
        "strata": [*chosen["strata"]],
        "surfaces": [name for surface in chosen["surfaces"] for name in surface],
        "clusters": [name for c in chosen["clusters"] for name in (("ra", "dec") if SKY_CELLS.fullmatch(c) else (c,))],
    }
    for key, columns in wanted.items():
        lost = [name for name in dict.fromkeys(columns) if name not in names]
        if lost:
            raise EvaluationError(
                f"{settings.table}: no column for the {key} {', '.join(lost)}; the table has: {', '.join(names)}. "
                f"Name the column under `scores.columns`, or take it out of `scores.evaluation.{key}`"
            )
    return table, asked.model_copy(update=chosen)


def default_strata(names: Sequence[str]) -> dict[str, Stratum]:
    """Return the strata that the columns of a table allow, of the chain that has more of them."""
    lists = [{k: v for k, v in known.items() if k in names} for known in (LENSFINDER_STRATA, SUBHALO_STRATA)]
    return max(lists, key=len)


def default_surfaces(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the surfaces of both chains whose columns a table has."""
    return tuple(s for s in (*LENSFINDER_SURFACES, *SUBHALO_SURFACES) if set(s) <= set(names))


def default_clusters(names: Sequence[str]) -> tuple[str, ...]:
    """Return the clusters of both chains that a table has; where it has positions and no regions, cells of the sky."""
    galaxy = next((name for name in ("mangaid", "plateifu") if name in names), None)
    found = [name for name in (galaxy, *LENSFINDER_CLUSTERS) if name in names]
    sky = {"ra", "dec"} <= set(names) and "region_id" not in names
    return (*found, *([DEFAULT_SKY] if sky else []))


def open_scores(path: str | os.PathLike, mapping: Mapping[str, str] | None = None) -> LazyTable:
    """Open a table of scores made elsewhere, ready for `evaluate_network`.

    Parquet is read column by column as the evaluation goes, so that the file may be larger than the memory.

    Parameters
    ----------
    path : path of a .parquet, .pq or .csv (also .csv.gz) file
    mapping : mapping of str to str, optional
        Column of the file for any of stamp_id, label, score, split, or for a strata column that has another name in the file,
        for example `{"score": "p_resnet18"}`.

    Returns
    -------
    LazyTable
        Columns stamp_id (text or number), label (int8), score (float64), split (string), then all others under their names. Without a
        split column every row is `test`. Nothing in the file is unpickled; binary columns are left out.

    Raises
    ------
    EvaluationError
        The file is missing or unreadable; a column is missing; label and is_control contradict each other; labels
        are not 0 and 1; no row is of a split that is evaluated. (Ids that repeat and scores that are not finite are found
        by `evaluate_network`.)
    """
    fields, n, pieces_of = _open(Path(path))
    chosen = _choose(fields.names, dict(mapping or {}), path)
    pieces = {
        "stamp_id": pieces_of(chosen["stamp_id"], categories=False),
        "label": partial(_labels, chosen, fields, pieces_of, path),
        "score": partial(_numbers, fields.field(chosen["score"]), pieces_of, path),
    }
    if "split" in chosen:
        pieces["split"] = partial(_splits, pieces_of(chosen["split"]))
    used = {chosen[k] for k in (*ALIASES, CONTROL[0]) if k in chosen}
    renamed = {theirs: ours for ours, theirs in chosen.items() if ours not in ALIASES and ours != CONTROL[0]}
    for field in fields:
        wanted = renamed.get(field.name, field.name)
        if (field.name not in used or field.name in renamed) and wanted not in pieces and not _is_binary(field.type):
            pieces[wanted] = pieces_of(field.name)
    table = LazyTable(pieces, n)
    table.column("label")  # contradictions and strange labels are named before anything is computed
    table.column("score")
    if not any(has_split(table, split) for split in ("test", "validation")):
        splits = "no rows" if "split" not in pieces else ", ".join(map(str, pc.unique(table.column("split")).to_pylist())) or "no rows"
        raise EvaluationError(
            f"{path}: no row is of split test or validation (found: {splits}); name the split column under `scores.columns`, or leave it out"
        )
    return table


def _open(path: Path) -> tuple[pa.Schema, int, Callable[..., Pieces]]:
    """Return the columns of a file, its number of rows, and what reads a column."""
    if not path.is_file():
        raise EvaluationError(f"{path}: this table of scores does not exist; give the path of a Parquet or CSV file")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            with pq.ParquetFile(path) as file:
                return file.schema_arrow, file.metadata.num_rows, partial(parquet_pieces, path)
        if name.endswith((".csv", ".csv.gz")):
            table = pyarrow.csv.read_csv(path)
            return table.schema, table.num_rows, partial(table_pieces, table)
    except (pa.ArrowInvalid, OSError) as error:
        raise EvaluationError(
            f"{path}: not a readable table ({str(error).splitlines()[0]}); write it again as Parquet or CSV with a header line"
        ) from error
    raise EvaluationError(f"{path}: the name must end in .parquet, .pq, .csv or .csv.gz, so that the format is known")


def _choose(names: Sequence[str], mapping: dict[str, str], path: str | os.PathLike) -> dict[str, str]:
    """Return the file's column for each of ours."""
    lost = [f"{theirs} (for {ours})" for ours, theirs in mapping.items() if theirs not in names]
    if lost:
        raise EvaluationError(
            f"{path}: `scores.columns` names columns that are not there: {', '.join(lost)}; the table has: {', '.join(names)}"
        )
    chosen = dict(mapping)
    for ours, known in (*ALIASES.items(), (CONTROL[0], CONTROL)):
        name = next((n for n in known if n in names), None)
        if ours not in chosen and name is not None and not (ours == CONTROL[0] and "label" in mapping):
            chosen[ours] = name
    missing = [k for k in ("stamp_id", "label", "score") if k not in chosen and not (k == "label" and CONTROL[0] in chosen)]
    if missing:
        known = "; ".join(f"{k}: {', '.join(ALIASES[k] + (CONTROL if k == 'label' else ()))}" for k in missing)
        raise EvaluationError(
            f"{path}: no column for {', '.join(missing)} (recognised — {known}); the table has: {', '.join(names)}. Name it under `scores.columns`"
        )
    return chosen


def _labels(chosen: Mapping[str, str], fields: pa.Schema, pieces_of: Callable[..., Pieces], path: str | os.PathLike) -> Iterator[pa.Array]:
    """Yield labels as int8, from a label or from its reverse; where both are there they must agree."""
    named = [chosen[k] for k in ("label", CONTROL[0]) if k in chosen]
    for pieces in zip(*(_numbers(fields.field(name), pieces_of, path) for name in named), strict=True):
        values = [np.asarray(pc.fill_null(piece, np.nan)) for piece in pieces]
        if CONTROL[0] in chosen:
            values[-1] = 1 - values[-1]
        label = values[0]
        if not np.array_equal(label, values[-1], equal_nan=True):
            raise EvaluationError(
                f"{path}: columns `{named[0]}` and `{named[1]}` contradict each other; name the right one as `label` under `scores.columns`"
            )
        strange = ~np.isin(label, (0, 1))
        if strange.any():
            raise EvaluationError(
                f"{path}: labels must be 0 or 1, but {int(strange.sum())} values of `{named[0]}` are others, first {label[strange][0]:g}"
            )
        yield pa.array(label.astype(np.int8))


def _numbers(field: pa.Field, pieces_of: Callable[..., Pieces], path: str | os.PathLike) -> Iterator[pa.Array]:
    for piece in pieces_of(field.name)():
        try:
            yield pc.cast(pc.cast(piece, pa.int8()) if pa.types.is_boolean(piece.type) else piece, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise EvaluationError(f"{path}: column `{field.name}` holds {field.type}, expected numbers ({error})") from error


def _splits(pieces: Pieces) -> Iterator[pa.Array]:
    for piece in pieces():
        names = piece.dictionary_encode() if not pa.types.is_dictionary(piece.type) else piece
        words = [SPLIT_NAMES.get(str(v).lower(), str(v).lower()) for v in names.dictionary.to_pylist()]
        yield pa.array(words, pa.string()).take(names.indices)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
