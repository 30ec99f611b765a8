"""Scores made elsewhere: Parquet, CSV or FITS with a label and a score, under these or other known column names."""

from __future__ import annotations

import gzip
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ..config.base import nearest
from ..config.columns import COLUMNS, SKY_CELLS
from ..config.columns import TEXT as IS_TEXT
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
from ..core.csv_tables import check_lines
from ..core.fits_tables import is_fits, read_fits_table
from ..core.positions import SUSPECTED, other_unit
from ..core.rates import EvaluationError
from ..core.reading import UNREADABLE, absent, in_its_place, words
from ..core.tables import PARQUET, ordinary, parquet_files
from ..core.truths import truth
from .clusters import cluster_columns
from .evaluate import evaluate_network
from .information import D_PRIME_COLUMN
from .lazy_table import BATCH, LazyTable, Pieces, parquet_pieces, table_pieces
from .scored import has_split
from .tidy import COMMITTEE

log = logging.getLogger("darkhaloscope")

#: Names under which a column is recognised, whatever their case; the first one found counts.
ALIASES = {
    "stamp_id": ("stamp_id", "task_id", "id", "object_id", "objid"),
    "label": ("label", "is_lens", "is_positive", "y_true", "target"),
    "score": ("score", "p_lens", "prob", "probability", "p", "y_score"),
    "split": ("split", "region_split"),
}
#: The same of columns that strata, surfaces and clusters are made of. (A PSF's FWHM is no `psfsize_r`: docs/science.md.)
SYNONYMS = {
    "theta_e_arcsec": ("theta_e", "thetae", "einstein_radius", "einstein_radius_arcsec", "r_ein"),
    "theta_over_psf": ("theta_e_over_psf",),
    "arc_snr": ("snr", "s_n"),
    "psfsize_r": ("psfsize",),
    "psfdepth_r": ("psfdepth",),
    "mag_r": ("r_mag", "rmag"),
    "contaminant_class": ("contaminant",),
    "log10_mass_msun": ("log10_mass", "log_mass"),
    "physical_id": ("mangaid", "manga_id"),
    "galaxy_id": ("plateifu", "plate_ifu"),
    "ra": ("ra_deg",),
    "dec": ("dec_deg",),
}
#: Columns of a CSV that are text whatever they look like: as numbers, ids above 2⁶³ fall together and 007 is 7; one called NA would be missing.
TEXT = {name for columns in COLUMNS.values() for name, kind in columns.items() if kind == IS_TEXT} | {*ALIASES["stamp_id"]}
TEXT |= {theirs for ours, known in SYNONYMS.items() if ours in TEXT for theirs in known}
#: True for a control: the reverse of a label.
CONTROL = ("is_control",)
#: Columns of a Parquet table that may be text: older writers of Parquet have it as bytes.
SPELT = {*TEXT, *ALIASES["label"], *ALIASES["split"], *CONTROL}
#: Numbers that stand for no measurement in catalogues; no column of strata or surfaces has them as values.
NO_MEASUREMENT = (-99, -999, -9999)
#: Cells of 1.8°, where a table has positions and no regions.
DEFAULT_SKY = "healpix-32"
SPLIT_NAMES = {"val": "validation", "valid": "validation", "dev": "validation", "testing": "test", "training": "train"}
SPLITS = ("train", "validation", "test")


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
    frames = evaluate_network(
        {(settings.folder, 0): table}, evaluation, channels="both" if D_PRIME_COLUMN["both"] in table.column_names else "bands"
    )
    rates = frames["rates"]
    [auc] = rates[(rates["metric"] == "auc") & (rates["seed"] == COMMITTEE)].to_dict("records")
    said = f"AUC {auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]" if auc["resolved"] else f"no AUC: {auc['note']}"
    log.info("%s: %s of %d positives and %d controls", settings.table, said, auc["n_positives"], auc["n_negatives"])
    return frames


def open_settings(settings: ScoresTable) -> tuple[LazyTable, Evaluation]:
    """Return the table and how it is evaluated: what the settings leave open is chosen by the columns that there are.

    Raises
    ------
    EvaluationError
        As `open_scores`; or a column of strata, surfaces or clusters is not in the table, or positions are no degrees.
    """
    table = open_scores(settings.table, settings.columns)
    names, asked = table.column_names, settings.evaluation
    chosen = {
        "strata": asked.strata or default_strata(names),
        "surfaces": asked.surfaces or default_surfaces(names),
        "clusters": asked.clusters or default_clusters(names),
    }
    if not chosen["strata"]:
        log.warning(
            "%s: none of its columns (%s) is one that strata are made of (%s); where one of them is there under another name, say so "
            "under `scores.columns`, for example columns: {theta_e_arcsec: my_radius}, or give `scores.evaluation.strata`",
            *(settings.table, ", ".join(names), ", ".join({**LENSFINDER_STRATA, **SUBHALO_STRATA})),
        )
    if not chosen["surfaces"]:
        log.warning(
            "%s: no completeness is mapped, the table has none of the pairs of columns for it; name one under `scores.evaluation.surfaces`",
            settings.table,
        )
    wanted = {
        "strata": [*chosen["strata"]],
        "surfaces": [name for surface in chosen["surfaces"] for name in surface],
        "clusters": [name for c in chosen["clusters"] for name in cluster_columns(c)],
    }
    for key, columns in wanted.items():
        lost = [name for name in dict.fromkeys(columns) if name not in names]
        if lost:
            raise EvaluationError(
                f"{settings.table}: no column for the {key} {', '.join(lost)}; the table has: {', '.join(names)}. "
                f"Name the column under `scores.columns`, or take it out of `scores.evaluation.{key}`"
            )
    known = {*ALIASES, *CONTROL, *SYNONYMS, *(name for columns in COLUMNS.values() for name in columns), "calibrated"}
    if idle := [ours for ours in settings.columns if ours not in known.union(*wanted.values())]:
        raise EvaluationError(
            f"{settings.table}: `scores.columns` names a column for {idle[0]}{nearest(idle[0], ALIASES)}, and nothing uses one of this name, "
            "expected a known name or one of `scores.evaluation`; correct it, or leave it out"
        )
    if any(SKY_CELLS.fullmatch(name) for name in chosen["clusters"]):
        _check_places(table, settings.table)
    measured = {*wanted["strata"], *wanted["surfaces"]}
    return _without_signs(table, measured, settings.table), asked.model_copy(update=chosen)


def _without_signs(table: LazyTable, columns: Iterable[str], path: str | os.PathLike) -> LazyTable:
    """Return the table with nothing in the place of numbers that catalogues write where there is no measurement; a bin of them would be called one of values."""
    pieces = dict(table.pieces)
    for name in sorted(columns):
        if name not in pieces or not any(found := {sign: _count(table.column(name), sign) for sign in NO_MEASUREMENT}.values()):
            continue
        said = ", ".join(f"{sign} in {n} rows" for sign, n in zip(NO_MEASUREMENT, found, strict=True) if n)
        log.warning("%s: column %s is %s, which is taken for no measurement", path, name, said)
        pieces[name] = partial(_without, pieces[name])
    return LazyTable(pieces, table.n, table.keep)


def _count(column: pa.ChunkedArray, sign: int) -> int:
    return pc.sum(pc.equal(pc.cast(column, pa.float64()), sign)).as_py() or 0 if _is_number(column.type) else 0


def _without(pieces: Pieces) -> Iterator[pa.Array]:
    for piece in pieces():
        strange = pc.is_in(pc.cast(piece, pa.float64()), pa.array(NO_MEASUREMENT, pa.float64()))
        yield pc.if_else(strange, pa.scalar(None, piece.type), piece)


def default_strata(names: Sequence[str]) -> dict[str, Stratum]:
    """Return the strata that the columns of a table allow, of the chain that has more of them."""
    lists = [{k: v for k, v in known.items() if k in names} for known in (LENSFINDER_STRATA, SUBHALO_STRATA)]
    return max(lists, key=len)


def default_surfaces(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the surfaces of both chains whose columns a table has."""
    return tuple(s for s in (*LENSFINDER_SURFACES, *SUBHALO_SURFACES) if set(s) <= set(names))


def default_clusters(names: Sequence[str]) -> tuple[str, ...]:
    """Return the clusters of both chains that a table has; where it has positions and no regions, cells of the sky."""
    galaxy = next((name for name in ("physical_id", "galaxy_id") if name in names), None)
    found = [name for name in (galaxy, *LENSFINDER_CLUSTERS) if name in names]
    sky = {"ra", "dec"} <= set(names) and "region_id" not in names
    return (*found, *([DEFAULT_SKY] if sky else []))


def open_scores(path: str | os.PathLike, mapping: Mapping[str, str] | None = None) -> LazyTable:
    """Open a table of scores made elsewhere, ready for `evaluate_network`.

    Parquet is read column by column as the evaluation goes, so that the file may be larger than the memory.

    Parameters
    ----------
    path : path of a .parquet, .pq, .csv or .fits (also .csv.gz, .fits.gz) file, or of a folder of Parquet files (`parquet_files`)
    mapping : mapping of str to str, optional
        Column of the file for any of stamp_id, label, score, split, or for a strata column that has another name in the file,
        for example `{"score": "p_resnet18"}`.

    Returns
    -------
    LazyTable
        Columns stamp_id (text or number), label (int8), score (float64), split (string), then all others under their names. Without a
        split column every row is `test`; without an id column the rows are numbered. Nothing in the file is unpickled; binary columns
        are left out. Columns with a known synonym are there under both names.

    Raises
    ------
    EvaluationError
        The file is missing or unreadable; a column is missing, comes twice, or could be two; label and is_control contradict each other; labels
        are not 0 and 1; a split is none of train, validation and test, or an id is in two of them; no row is of a split that is evaluated. (Ids that repeat and scores that are not finite are found
        by `evaluate_network`.)
    """
    named = mapping or {}
    ids = {*ALIASES["stamp_id"], named.get("stamp_id", "").lower()}
    fields, n, pieces_of = _open(Path(path), {theirs for ours, theirs in named.items() if ours in TEXT}, ids)
    if n == 0:
        raise EvaluationError(
            f"{path}: this table of scores has no rows, expected one for each stamp; write it again, or give the path of another"
        )
    if "calibrated" in fields.names and not _is_number(fields.field("calibrated").type):
        raise EvaluationError(
            f"{path}: column calibrated holds {fields.field('calibrated').type}, expected calibrated probabilities; rename it, or leave it out"
        )
    chosen = _choose(fields.names, dict(mapping or {}), path)
    for ours, theirs in chosen.items():
        if pa.types.is_nested(fields.field(theirs).type):
            raise EvaluationError(
                f"{path}: column `{theirs}` (for {ours}) holds {fields.field(theirs).type}, expected one value in each row; write it so, or name "
                "another under `scores.columns`"
            )
    if "stamp_id" not in chosen:
        log.warning("%s: no column for stamp_id (recognised: %s); the rows are numbered in its place", path, ", ".join(ALIASES["stamp_id"]))
    pieces = {
        "stamp_id": pieces_of(chosen["stamp_id"], categories=False) if "stamp_id" in chosen else partial(_numbered, n),
        "label": partial(_labels, chosen, fields, pieces_of, path),
        "score": partial(_numbers, fields.field(chosen["score"]), pieces_of, path),
    }
    if "split" in chosen:
        pieces["split"] = partial(_splits, pieces_of(chosen["split"]))
    used = {chosen[k] for k in (*ALIASES, CONTROL[0]) if k in chosen}
    renamed = {theirs: ours for ours, theirs in chosen.items() if ours not in ALIASES and ours != CONTROL[0]}
    for field in fields:
        wanted = renamed.get(field.name, field.name)
        if (
            (field.name not in used or field.name in renamed)
            and wanted not in pieces
            and not _is_binary(field.type)
            and not pa.types.is_nested(field.type)
        ):
            pieces[wanted] = pieces_of(field.name)
    for found, is_so in (("several values in a row", pa.types.is_nested), ("bytes", _is_binary)):
        if names := [field.name for field in fields if is_so(field.type) and field.name not in used]:
            log.warning("%s: columns %s hold %s, and are left out", path, ", ".join(names), found)
    for ours, known in SYNONYMS.items():
        theirs = None if ours in pieces else _named(pieces, known, ours, path)
        if theirs is not None:
            log.info("%s: column `%s` is taken for %s", path, theirs, ours)
            pieces[ours] = pieces[theirs]
    table = LazyTable(pieces, n)
    table.column("label")  # contradictions and strange labels are named before anything is computed
    table.column("score")
    _check_splits(table, chosen.get("split"), path)
    if "stamp_id" in chosen and "split" in chosen:
        _check_shared(table, path)
    if not any(has_split(table, split) for split in ("test", "validation")):
        splits = "no rows" if "split" not in pieces else ", ".join(map(str, pc.unique(table.column("split")).to_pylist())) or "no rows"
        raise EvaluationError(
            f"{path}: no row is of split test or validation (found: {splits}); name the split column under `scores.columns`, or leave it out"
        )
    return table


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)


def _open(path: Path, text: set[str], ids: set[str]) -> tuple[pa.Schema, int, Callable[..., Pieces]]:
    """Return the columns of a file, its number of rows, and what reads a column; in a CSV, columns `text` are text beside those of known names.

    `ids` are the names, in small letters, of columns that may be bytes which are no text.
    """
    name = path.name.lower()
    if os.path.isdir(path):  # a Path raises where a folder above it may not be entered
        parts = parquet_files(path)
        if not parts:
            raise EvaluationError(
                f"{path}: this folder holds no Parquet file, expected some; give the path of a Parquet or CSV file, or of a folder of Parquet files"
            )
    elif not os.path.isfile(path):
        raise EvaluationError(
            f"{path}: this table of scores {absent(path) or 'is no file'}; expected a Parquet, CSV or FITS table: give its path, or check permissions"
        )
    elif name.endswith(PARQUET):
        parts = [path]
    elif name.endswith((".csv", ".csv.gz")):
        opened = gzip.open if name.endswith(".gz") else open
        with _readable(path), opened(path, "rb") as file:
            header = file.readline(10_000).decode("utf-8", "replace").strip()
        if "\0" in header:
            raise EvaluationError(f"{path}: not UTF-8 but UTF-16, or no text at all; expected a CSV in UTF-8: save it so, or as Parquet")
        if "," not in header:
            raise EvaluationError(
                f"{path}: its first line, `{header[:80]}`, has no comma{f' ({instead})' if (instead := in_its_place(path)) else ''}; expected a header with commas between the names of columns, and points "
                "in numbers: save the table as such a CSV, or as Parquet"
            )
        with _readable(path):
            # Arrow knows a packed file by `.gz` in small letters alone.
            packed = "gzip" if name.endswith(".gz") else None
            with pa.input_stream(os.fspath(path), compression=packed) as file:
                given = pyarrow.csv.open_csv(file).schema.names  # those that are no UTF-8 raise here
            names = [name.strip() for name in given]
            _check_once(names, path)
            text = {name for name in names if name in text or name.lower() in TEXT}
            kinds = {theirs: pa.string() for theirs, name in zip(given, names, strict=True) if name in text}
            with pa.input_stream(os.fspath(path), compression=packed) as file:
                table = pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(column_types=kinds)).rename_columns(names)
            with opened(path, "rb") as file:
                check_lines(file, table.num_rows)
            for k in (k for k, name in enumerate(names) if name in text):
                table = table.set_column(
                    k, names[k], pc.if_else(pc.equal(table.column(k), ""), pa.scalar(None, pa.string()), table.column(k))
                )
        if undecoded := [name for name in names if _is_binary(table.schema.field(name).type)]:
            raise EvaluationError(f"{path}: column {', '.join(undecoded)} is not UTF-8, expected text or numbers; save the table as UTF-8")
        return table.schema, table.num_rows, partial(table_pieces, table)
    elif is_fits(path):
        table = read_fits_table(path, EvaluationError)
        return table.schema, table.num_rows, partial(table_pieces, table)
    else:
        raise EvaluationError(f"{path}: the name must end in .parquet, .pq, .csv, .csv.gz or .fits, so that the format is known")
    schemas: list[pa.Schema] = []
    rows = 0
    for part in parts:
        with _readable(part), pq.ParquetFile(part) as file:
            _check_once(file.schema_arrow.names, part)
            schemas.append(file.schema_arrow)
            rows += file.metadata.num_rows
        if schemas[-1].names != schemas[0].names:
            raise EvaluationError(f"{part}: other columns than in {parts[0]} ({', '.join(schemas[-1].names)}); keep one table in a folder")
    text = {name for name in schemas[0].names if name in text or name.lower() in SPELT}
    # Such as random UUIDs.
    raw = {name for name in text if name.lower() in ids and any(_is_binary(schema.field(name).type) for schema in schemas)}
    text -= {name for name in raw if not _is_text(parts, name)}
    kinds = {name: _common([_known(schema.field(name).type, name in text) for schema in schemas]) for name in schemas[0].names}
    different = {name: kind for name, kind in kinds.items() if any(schema.field(name).type != kind for schema in schemas)}
    return pa.schema(kinds), rows, lambda name, categories=True: parquet_pieces(parts, name, categories, different.get(name))


def _is_text(parts: Sequence[Path], name: str) -> bool:
    """Whether all bytes of a column are UTF-8."""
    try:
        for part in parts:
            with _readable(part):
                pq.read_table(part, columns=[name]).column(0).cast(pa.string())
    except EvaluationError:
        return False
    return True


def _known(kind: pa.DataType, text: bool) -> pa.DataType:
    """Return the type that a column is read as: views as what they are of, bytes that are text as text."""
    plain = ordinary(kind.value_type if pa.types.is_dictionary(kind) else kind)
    return pa.string() if text and (pa.types.is_binary(plain) or pa.types.is_large_binary(plain)) else ordinary(kind)


def _common(kinds: Sequence[pa.DataType]) -> pa.DataType:
    """Return the type that parts of a table have a column in common as: of empty ones and others that of the others, of different numbers one that holds both."""
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0]
    plain = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in kinds]
    known = [kind for kind in dict.fromkeys(plain) if not pa.types.is_null(kind)]
    try:
        return pa.unify_schemas([pa.schema({"": kind}) for kind in known], promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return known[0]  # what cannot be read as that is named when it is read


def _check_once(names: Sequence[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EvaluationError(f"{path}: column {', '.join(twice)} comes twice, expected each once; rename or drop one")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except EvaluationError:
        raise
    except UNREADABLE as error:
        raise EvaluationError(
            f"{path}: not a readable table ({words(error, path)}); write it again as Parquet or CSV with a header line"
        ) from error


def _named(names: Iterable[str], known: Sequence[str], ours: str, path: str | os.PathLike) -> str | None:
    """Return the first of some known names that is there, whatever its case; two that differ in their case alone are an error."""
    there: dict[str, list[str]] = {}
    for name in names:
        there.setdefault(name.lower(), []).append(name)
    found = next((there[name] for name in known if name in there), [None])
    if len(found) > 1:
        raise EvaluationError(
            f"{path}: columns {' and '.join(found)} could both be {ours}; name the right one as `{ours}` under `scores.columns`"
        )
    return found[0]


def _choose(names: Sequence[str], mapping: dict[str, str], path: str | os.PathLike) -> dict[str, str]:
    """Return the file's column for each of ours."""
    lost = [f"{theirs} (for {ours})" for ours, theirs in mapping.items() if theirs not in names]
    if lost:
        raise EvaluationError(
            f"{path}: `scores.columns` names columns that are not there: {', '.join(lost)}; the table has: {', '.join(names)}"
        )
    chosen = dict(mapping)
    for ours, known in (*ALIASES.items(), (CONTROL[0], CONTROL)):
        if ours in chosen or (ours == CONTROL[0] and "label" in mapping):
            continue
        name = _named(names, known, ours, path)
        if name is not None:
            chosen[ours] = name
    missing = [k for k in ("label", "score") if k not in chosen and not (k == "label" and CONTROL[0] in chosen)]
    if missing:
        known = "; ".join(f"{k}: {', '.join(ALIASES[k] + (CONTROL if k == 'label' else ()))}" for k in missing)
        raise EvaluationError(
            f"{path}: no column for {', '.join(missing)} (recognised — {known}); the table has: {', '.join(names)}. Name it under `scores.columns`"
        )
    return chosen


def _labels(chosen: Mapping[str, str], fields: pa.Schema, pieces_of: Callable[..., Pieces], path: str | os.PathLike) -> Iterator[pa.Array]:
    """Yield labels as int8, from a label or from its reverse; where both are there they must agree."""
    named = [chosen[k] for k in ("label", CONTROL[0]) if k in chosen]
    for pieces in zip(*(_truths(fields.field(name), pieces_of, path) for name in named), strict=True):
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
                f"{path}: labels must be 0 or 1, but {int(strange.sum())} values of `{named[0]}` are others, first {label[strange][0]:g}; correct them"
            )
        yield pa.array(label.astype(np.int8))


def _truths(field: pa.Field, pieces_of: Callable[..., Pieces], path: str | os.PathLike) -> Iterator[pa.Array]:
    """Yield a column of yes and no as numbers, text of known words as what it says."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        yield from _numbers(field, pieces_of, path)
        return
    for piece in pieces_of(field.name)():
        encoded = piece if pa.types.is_dictionary(piece.type) else piece.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        # A categorical names words that no row has, too.
        used = set(pc.unique(encoded.indices).drop_null().to_pylist())
        strange = sorted({w for k, w in enumerate(words) if k in used and truth(w) is None})
        if strange:
            raise EvaluationError(
                f"{path}: column `{field.name}` holds the text {', '.join(map(repr, strange[:3]))}; expected true or false, yes or no, 1 or 0; correct it"
            )
        yield pa.array([truth(w) for w in words], pa.float64()).take(encoded.indices)


def _numbered(n: int) -> Iterator[pa.Array]:
    for start in range(0, n, BATCH):
        yield pa.array(np.arange(start, min(start + BATCH, n)))


def _check_splits(table: LazyTable, column: str | None, path: str | os.PathLike) -> None:
    """Raise `EvaluationError` where rows are of no split: they would be left out in silence."""
    if "split" not in table.column_names:
        return
    counts = {row["values"]: row["counts"] for row in pc.value_counts(table.column("split")).to_pylist()}
    odd = {word: n for word, n in counts.items() if word not in SPLITS}
    if odd and set(counts) - set(odd):
        found = ", ".join(f"{'no value' if word in (None, '') else f'`{word}`'} in {n} rows" for word, n in odd.items())
        raise EvaluationError(
            f"{path}: column `{column}` holds {found}; expected train, validation or test in every row: these rows would be left out"
        )


def _check_places(table: LazyTable, path: str | os.PathLike) -> None:
    """Raise `EvaluationError` where positions on the sky, of which clusters are made, are none."""
    found = {}
    for name, low, high in (("ra", 0, 360), ("dec", -90, 90)):
        column = table.column(name)
        try:
            numbers = np.asarray(pc.fill_null(pc.cast(column, pa.float64()), np.nan))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise EvaluationError(
                f"{path}: column `{name}` holds {column.type}, expected degrees ({error}); write numbers, or rename it"
            ) from error
        found[name] = numbers
        wrong = numbers[(numbers < low) | (numbers > high)]
        if len(wrong):
            raise EvaluationError(
                f"{path}: column `{name}` holds {wrong[0]:g} in {int((numbers == wrong[0]).sum())} rows, expected degrees from {low} to {high}; leave empty what is not known"
            )
    if unit := other_unit(found["ra"], found["dec"]):
        log.warning(SUSPECTED, path, unit)


def _check_shared(table: LazyTable, path: str | os.PathLike) -> None:
    """Raise `EvaluationError` where an id is in more than one split: thresholds were fixed, or networks trained, on what is judged."""
    pairs = pa.table([table.column("stamp_id"), table.column("split")], ["id", "split"]).group_by(["id", "split"]).aggregate([])
    shared = pairs.num_rows - len(pc.unique(pairs["id"]))
    if shared:
        raise EvaluationError(
            f"{path}: {shared} stamp_ids are in more than one split, expected each in one: a stamp that fixed a threshold or trained a network "
            "cannot judge it; keep one row of each, or give stamps of other splits ids of their own"
        )


def _numbers(field: pa.Field, pieces_of: Callable[..., Pieces], path: str | os.PathLike) -> Iterator[pa.Array]:
    for piece in pieces_of(field.name)():
        try:
            yield pc.cast(pc.cast(piece, pa.int8()) if pa.types.is_boolean(piece.type) else piece, pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise EvaluationError(f"{path}: column `{field.name}` holds {field.type}, expected numbers ({error}); correct them") from error


def _splits(pieces: Pieces) -> Iterator[pa.Array]:
    for piece in pieces():
        names = piece.cast(pa.string()).dictionary_encode() if not pa.types.is_dictionary(piece.type) else piece
        given = [str(v).strip().lower() for v in names.dictionary.to_pylist()]
        yield pa.array([SPLIT_NAMES.get(word, word) for word in given], pa.string()).take(names.indices)


def _is_binary(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
