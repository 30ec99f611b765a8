"""Scores that another program gave the stamps of this run, brought into the table of scores that every detector has."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ..core.csv_tables import check_lines
from ..core.fits_tables import is_fits, read_fits_table
from ..core.reading import UNREADABLE, in_its_place, words
from ..core.tables import Schema, TableError, open_table
from .schema import LENS_SCORES, SCORES, score_columns

log = logging.getLogger(__name__)


def import_scores(path: str | os.PathLike, shards: Sequence[str | os.PathLike], *, dataset: str, detector: str) -> dict[str, Any]:
    """Return the table of scores, as columns, of the stamps of one split with the scores that a file gives them.

    Parameters
    ----------
    path : Parquet or CSV table with `stamp_id` and `score`, one row per stamp; rows of other stamps are passed over
    shards : the stamps of the split
    dataset, detector : names, written into each row

    Raises
    ------
    TableError
        The file or a shard is unreadable, a column is missing, an id comes twice, a stamp has no score, or a score is no probability.
    """
    ids, scores = _read(path)
    stamps = read_stamp_columns(shards)
    rows = pc.index_in(stamps["stamp_id"].combine_chunks(), value_set=ids)
    if rows.null_count:
        missing = stamps.filter(pc.is_null(rows))["stamp_id"]
        raise TableError(
            f"{path}: no score for {len(missing)} of the {len(stamps)} stamps of {dataset} (first {missing[0]}); score every validation and "
            f"test stamp of the shards, under its `stamp_id`"
        )
    if len(ids) > len(stamps):
        log.info("%s: %d rows, of which %d are stamps of this split of %s", path, len(ids), len(stamps), dataset)
    score, n = np.asarray(scores.take(rows), np.float64), len(stamps)
    given = {"dataset": pa.repeat(dataset, n), "detector": pa.repeat(detector, n), "seed": pa.repeat(0, n), "score": score}
    return {**given, "calibrated": score, **{name: stamps[name] for name in stamps.column_names}}


def read_stamp_columns(shards: Sequence[str | os.PathLike]) -> pa.Table:
    """Return the columns of stamps that a table of scores repeats, of all shards in their order."""
    tables = []
    for path in shards:
        schema = _stamp_schema(path)
        with open_table(path, schema) as file:
            tables.append(file.read(columns=[c.name for c in schema.columns]).replace_schema_metadata(None))
    return pa.concat_tables(tables)


def _stamp_schema(path: str | os.PathLike) -> Schema:
    """Return the columns without images of the stamps of either task."""
    try:
        lens = "is_control" in pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        lens = False  # open_table says what is wrong
    return Schema("stamps", (LENS_SCORES if lens else SCORES).columns[len(score_columns()) :])


def _read(path: str | os.PathLike) -> tuple[pa.Array, pa.Array]:
    """Return ids as text and scores of a file, checked."""
    expected = "give a Parquet, CSV or FITS table with columns `stamp_id` and `score`"
    if os.path.isdir(path):
        raise TableError(f"{path}: this is a folder, expected one file; {expected}, its parts joined")
    if not os.path.isfile(path):
        raise TableError(f"{path}: this table of scores does not exist; {expected}")
    try:
        with open(path, "rb") as file:
            parquet = file.read(4) == b"PAR1"
        if parquet:
            table = pq.read_table(path)
        elif is_fits(path):
            table = read_fits_table(path, ValueError)
        else:
            text = pyarrow.csv.ConvertOptions(column_types={"stamp_id": pa.string(), "score": pa.float64()})
            table = pyarrow.csv.read_csv(path, convert_options=text)
            with open(path, "rb") as file:
                check_lines(file, table.num_rows)
        names = table.column_names  # those that are no UTF-8 raise here
    except UNREADABLE as error:
        raise TableError(f"{path}: cannot be read as a table of scores ({words(error, path)}); {expected}") from error
    missing = [name for name in ("stamp_id", "score") if name not in names]
    if missing:
        instead = f" ({found})" if (found := in_its_place(path)) else ""
        raise TableError(f"{path}: expected columns {' and '.join(missing)}, found {', '.join(names[:12])}{instead}; {expected}")
    twice = [name for name in ("stamp_id", "score") if names.count(name) > 1]
    if twice:
        raise TableError(f"{path}: column {' and '.join(twice)} comes twice, expected each once; rename or drop one")
    try:
        ids, scores = table["stamp_id"].cast(pa.string()).combine_chunks(), table["score"].cast(pa.float64()).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise TableError(f"{path}: `stamp_id` must be text and `score` numbers ({error}); {expected}") from error
    if ids.null_count or len(pc.unique(ids)) != len(ids):
        raise TableError(
            f"{path}: {len(ids) - len(pc.unique(ids.drop_null()))} rows have no stamp_id or one that came before, expected each once; give each stamp once"
        )
    bad = pc.invert(pc.fill_null(pc.and_(pc.greater_equal(scores, 0), pc.less_equal(scores, 1)), False))
    if pc.any(bad).as_py():
        first = ids.filter(bad)[0]
        raise TableError(
            f"{path}: {pc.sum(bad)} scores are missing or no probabilities, first that of {first} ({scores.filter(bad)[0]}), expected all between 0 and 1; "
            "give numbers from 0 (control) to 1, of logits their sigmoid"
        )
    return ids, scores
