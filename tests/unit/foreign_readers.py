"""Every reader of files that come from elsewhere, or that another stage left: how a good file is made, and how it is read."""

from __future__ import annotations

import functools
import gzip
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from darkhaloscope.archive.checks import read_checksums
from darkhaloscope.config.cutouts import CutoutFolder, Cutouts
from darkhaloscope.config.legacysurvey import MOCK_LABELS, MOCK_LENSES, LrgCuts, MockSky
from darkhaloscope.config.lensfinder import ImportedDataset
from darkhaloscope.config.manga import Quality, Ranking, Sample
from darkhaloscope.config.observed import Observed
from darkhaloscope.config.run import load
from darkhaloscope.config.sources import CosmosSources
from darkhaloscope.config.subhalo import Psf
from darkhaloscope.core.csv_tables import read_csv
from darkhaloscope.core.files import write_json
from darkhaloscope.core.tables import Column, Schema, read_table, write_table
from darkhaloscope.core.tables import images as images_of
from darkhaloscope.ifu.bank import bank_schema, build_bank, read_bank, write_bank
from darkhaloscope.ifu.lensability import read_metrics
from darkhaloscope.ifu.manga.catalogs import rank_disks, read_catalogs
from darkhaloscope.ifu.manga.maps import read_maps
from darkhaloscope.ifu.plain.file import write_plain
from darkhaloscope.ifu.plain.maps import read_plain
from darkhaloscope.mock.legacysurvey import make_mock_survey
from darkhaloscope.mock.manga import make_mock_manga
from darkhaloscope.sources.cosmos import CosmosImages, list_sources
from darkhaloscope.surveys.folder import FolderOfCutouts
from darkhaloscope.surveys.known_lenses import read_known_lenses, read_labels
from darkhaloscope.surveys.legacysurvey.bricks import open_brick
from darkhaloscope.surveys.legacysurvey.parent import CutFlow, select_lrgs
from darkhaloscope.surveys.legacysurvey.sweeps import BrickTable
from darkhaloscope.surveys.observed import published, read_lens
from darkhaloscope.surveys.prepared import prepare_cutouts
from darkhaloscope.tasks.imported.shard import import_shard
from unit import damages
from unit.damages import Damage, copied

ROOT = Path(__file__).parents[2]
SAMPLE = Sample(base="file://mock/")
BRICK = "1506p005"
BRICK_TABLES = ("survey-bricks.fits.gz", "south/survey-bricks-dr10-south.fits.gz")
COADD = f"south/coadd/150/{BRICK}"
RNG = np.random.default_rng(17)


@dataclass(frozen=True)
class Reader:
    """One reader of files.

    Attributes
    ----------
    name : str
    make : writes a good file, and what belongs to it, into an empty folder, and returns it
    read : gives what the file says, as numbers, texts, arrays and containers of them
    content : damages of the format's own content: numbers as words, a value that is no number, something twice
    right : damage to a check of what the reader gives for it, where the documented result is not that of the good file
    without : damages that do not apply, and why
    table : what messages about content call a table of several files: its folder
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    content: Mapping[str, Damage]
    right: Mapping[str, Callable[[object, object], bool]] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    table: str = ""


# --- IFU maps and catalogues -------------------------------------------------------------------


@functools.cache
def mock_manga(folder: Path) -> Path:
    make_mock_manga(folder / "manga", SAMPLE, 3, 20)
    return folder / "manga"


@functools.cache
def mock_survey(folder: Path) -> Path:
    make_mock_survey(folder / "survey", MockSky(bricks=1, brick_size=300, lens_fraction=0.3, contaminant_fraction=0.3, sources=4), 20)
    return folder / "survey"


def from_manga(pattern: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        source = sorted(mock_manga(folder.parent).rglob(pattern))[0]
        return copied(source, folder / source.name)

    return make


def catalogs(which: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        both = {name: from_manga(f"{name}-*.fits")(folder) for name in ("dapall", "drpall")}
        return both[which]

    return make


def read_maps_file(path: Path) -> dict:
    maps = read_maps(path, Quality())
    return {"flux": maps.flux, "velocity": maps.velocity, "valid": maps.velocity_valid, "dispersion": maps.dispersion, "z": maps.z}


def ranked_galaxies(path: Path) -> list:
    there = {p.name.split("-")[0]: p for p in path.parent.glob("d*all-*.fits")} | {path.name.split("-")[0]: path}
    catalog = read_catalogs(there["dapall"], there["drpall"], SAMPLE)
    lenient = Ranking(ba_min=0.01, ba_max=0.999, re_min_arcsec=0.01, sigma_min_kms=0.01)
    return rank_disks(catalog, lenient, "Ha-6564", SAMPLE)["galaxy_id"].tolist()


def first_left_out(value: list, good: list) -> bool:
    """A value that is missing fails its cut: that galaxy alone is left out, or its other observation stands for it."""
    lost = [row for row in good if row not in value]
    return len(lost) <= 1 and len(value) >= len(good) - 1


def plain_maps() -> tuple[dict, dict]:
    y, x = np.indices((30, 30)) - 14.5
    good = np.hypot(x, y) < 12
    planes = {
        "flux": np.where(good, np.exp(-np.hypot(x, y / 0.6) / 4), np.nan),
        "velocity": np.where(good, 150 * np.tanh(x / 4), np.nan),
        "dispersion": np.where(good, 30.0, np.nan),
    }
    facts = {"galaxy_id": "NGC1", "instrument": "ALMA", "line": "CO", "z": 0.02, "psf_fwhm_arcsec": 0.5, "pixel_scale_arcsec": 0.3}
    return planes, facts


def plain_fits(folder: Path) -> Path:
    write_plain(folder / "NGC1.fits.gz", *plain_maps())
    return folder / "NGC1.fits.gz"


def plain_npz(folder: Path) -> Path:
    planes, facts = plain_maps()
    np.savez(folder / "NGC1.npz", **planes, **facts)
    return folder / "NGC1.npz"


def read_plain_file(path: Path) -> dict:
    maps = read_plain(path, Quality())
    return {"flux": maps.flux, "velocity": maps.velocity, "valid": maps.flux_valid & maps.velocity_valid, "z": maps.z}


def without_a_spaxel(value: dict, good: dict) -> bool:
    """A spaxel without a value is not valid; the others are as they were."""
    return int((good["valid"] & ~value["valid"]).sum()) == 1 and bool((good["velocity"] == value["velocity"])[value["valid"]].all())


def metrics(folder: Path) -> Path:
    write_json(folder / "metrics.json", {"galaxy_id": "1-1", "physical_id": "1", "z": 0.03, "vel_grad": 3.5, "usable": True})
    return folder / "metrics.json"


def tensor(which: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        numbers = (
            *("z", "pixel_scale_arcsec", "pixel_scale_kpc", "centre_x_pix", "centre_y_pix", "inclination_deg", "receding_axis_rad"),
            *("half_light_radius_arcsec", "half_light_radius_kpc", "v_peak_kms", "v_peak_los_kms", "velocity_median_kms"),
            *("dispersion_mean_kms", "psf_fwhm_arcsec", "psf_fwhm_kpc"),
        )
        texts = {"source_sha256": "a" * 64, "instrument": "MaNGA", "line": "Ha-6564", "flux_unit": "1e-17 erg/s/cm^2"}
        write_json(folder / "tensor.json", {"galaxy_id": "1-1", "physical_id": "1", **dict.fromkeys(numbers, 0.5), **texts})
        planes = {name: np.ones((32, 32), np.float32) for name in ("flux_per_arcsec2", "velocity", "dispersion")}
        np.savez(folder / "tensor.npz", valid=np.ones((32, 32), bool), **planes)
        return folder / f"tensor.{which}"

    return make


def read_tensor(path: Path) -> dict:
    scores = pd.DataFrame([("1-1", "good", 70.0, "")], columns=["galaxy_id", "tier", "score", "reasons"])
    from darkhaloscope.config.manga import Galaxies

    files = [(path.with_suffix(".npz"), path.with_suffix(".json"))]
    return build_bank(files, scores, Galaxies(listed=("1-1",))).to_pydict()


def bank(folder: Path) -> Path:
    size = 32
    rows = {
        c.name: [np.ones((size, size)) if c.shape else {"string": "x", "bool": True}.get(c.dtype, 1.0)] for c in bank_schema(size).columns
    }
    write_bank(folder / "bank.parquet", bank_schema(size).table({k: np.stack(v) if np.ndim(v) == 3 else v for k, v in rows.items()}))
    return folder / "bank.parquet"


# --- surveys, lenses and sources ---------------------------------------------------------------


def from_survey(name: str, *beside: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        survey = mock_survey(folder.parent)
        for one in beside:
            copied(survey / one, folder / Path(one).name)
        return copied(survey / name, folder / Path(name).name)

    return make


def selected_galaxies(path: Path) -> list:
    """The luminous red galaxies of a sweep."""
    bricks = BrickTable(path.parent / "survey-bricks.fits.gz", path.parent / "survey-bricks-dr10-south.fits.gz")
    return [row for table in select_lrgs([path], LrgCuts(), bricks, CutFlow()) for row in table.to_pylist()]


def read_bricks(path: Path) -> list:
    table = BrickTable(path.parent / "survey-bricks.fits.gz", path.parent / "survey-bricks-dr10-south.fits.gz")
    return [
        table.names.tolist(),
        table.values("PSFSIZE_R", table.names).tolist(),
        table.brick_at(np.array([150.6]), np.array([0.5])).tolist(),
    ]


def unknown_conditions(value: list, good: list) -> bool:
    """A brick without a PSF size is as one that is not in the table: NaN, which no cut on the seeing passes."""
    return bool(np.isnan(value[1]).all()) and value[::2] == good[::2]


def coadds(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        brick = folder / BRICK
        shutil.copytree(mock_survey(folder.parent) / COADD, brick)
        return brick / name

    return make


def read_cutout(path: Path) -> dict:
    with open_brick(path.parent, BRICK, ("g", "r", "z"), (0, 1)) as brick:
        found = brick.cutout(*SKY_OF_BRICK, 64)
    return {"ok": found.ok, "reason": found.reason, "image": found.image, "psfsize": found.psfsize}


#: The middle of the mock survey's first brick [deg].
SKY_OF_BRICK = (150.625, 0.5)


def pixel_refused(value: dict, good: dict) -> bool:
    return not value["ok"] and value["reason"] == "1 pixels are not finite"


def cutout_folder(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        image = RNG.normal(1.0, 0.1, (3, 40, 40)).astype(np.float32)
        path = folder / f"galaxy.{ending}"
        if ending == "npz":
            np.savez(path, image=image, ra=150.1, dec=2.2)
        else:
            fits.PrimaryHDU(image).writeto(path)
        return path

    return make


def read_folder(path: Path) -> dict:
    settings = CutoutFolder(path=str(path.parent), bands=("g", "r", "i"), pixel_scale_arcsec=0.2)
    found = FolderOfCutouts(settings).named("galaxy", 32)
    return {"image": found.image, "good": found.good, "ok": found.ok}


def pixel_is_bad(value: dict, good: dict) -> bool:
    """A pixel without a value is bad; the others are as they were."""
    return int((~value["good"]).sum()) == 1 and bool((value["image"] == good["image"])[value["good"]].all())


def many_cutouts(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        images = RNG.normal(1.0, 0.1, (5, 3, 40, 40)).astype(np.float32)
        columns = {"id": [f"galaxy-{k}" for k in range(5)], "ra": 150.1 + np.arange(5), "dec": np.full(5, 2.2), "label": np.arange(5.0)}
        if name.endswith("npz"):
            np.savez(folder / name, image=images, **columns)
        else:
            pq.write_table(pa.table(columns | {"image": list(images.reshape(5, -1))}), folder / name)
        return folder / name

    return make


def read_many_cutouts(path: Path) -> dict:
    return _prepared(Cutouts(path=str(path)), path.parent)


def observed(name: str) -> Callable[[Path], Path]:
    """A lens as observed, with every file that one may have; the file `name` of it."""

    def make(folder: Path) -> Path:
        y, x = np.indices((9, 9)) - 4
        psf = np.exp(-(x**2 + y**2) / 2)
        image = RNG.normal(0, 1, (41, 43)).astype(np.float32)
        files = {
            "image": image,
            "noise": np.full_like(image, 0.5),
            "psf": psf / psf.sum(),
            "mask": np.zeros_like(image),
            "velocity": 100 * image,
        }
        lens = folder / "J0000+0000"
        lens.mkdir()
        for stem, values in (files | {"weight": np.full_like(image, 4.0), "velocity_error": np.full_like(image, 9.0)}).items():
            if not (stem == "noise" and name == "weight.fits"):
                fits.PrimaryHDU(values).writeto(lens / f"{stem}.fits")
        (folder / "table.csv").write_text("system_name,theta_e,z_lens,z_source\nJ0001+0000,1.1,0.3,0.9\nJ0000+0000,1.2,0.2,0.6\n")
        return folder / name if name == "table.csv" else lens / name

    return make


def read_observed(path: Path) -> dict:
    table = path.name == "table.csv"
    folder = path.parent if table else path.parent.parent
    settings = Observed(path=str(folder), table=str(folder / "table.csv"))
    lens = read_lens(folder / "J0000+0000", settings)
    said = {} if not table else {n: published(n, settings) for n in ("J0000+0000", "J0001+0000")}
    return {**vars(lens), "missing": len(lens.missing), "said": said}


def pixel_left_out(value: dict, good: dict) -> bool:
    """A pixel without a value or a noise is not used; all others are as they were."""
    changed = value["good"] != good["good"]
    return int(changed.sum()) == 1 and not value["good"][changed].any() and bool((value["image"] == good["image"])[~changed].all())


def velocity_left_out(value: dict, good: dict) -> bool:
    """A velocity without a value stays one that is none; all else is as it was."""
    lost = ~(np.isfinite(value["velocity"]) & np.isfinite(value["velocity_error"]))
    kept = all(np.array_equal(value[k][~lost], good[k][~lost]) for k in ("velocity", "velocity_error"))
    return int(lost.sum()) == 1 and kept and bool((value["image"] == good["image"]).all())


def redshift_unknown(value: dict, good: dict) -> bool:
    """A number that is none is not known; the others are as they were."""
    known = {name: {k: v for k, v in row.items() if k in value["said"][name]} for name, row in good["said"].items()}
    return value["said"] == known and sum(map(len, known.values())) == sum(map(len, good["said"].values())) - 1


def labelled_cutouts(folder: Path) -> Path:
    cutout_folder("npz")(folder)
    (folder / "labels.csv").write_text("id,label,ra,dec\ngalaxy,1,150.1,2.2\nother,0,150.2,2.2\n")
    return folder / "labels.csv"


def read_labelled_cutouts(path: Path) -> dict:
    return _prepared(Cutouts(path=str(path.parent), labels=str(path)), path.parent)


def _prepared(settings: Cutouts, folder: Path) -> dict:
    table = pa.concat_tables(prepare_cutouts(settings, 32))
    found = {name: table[name].to_pylist() for name in ("stamp_id", "ra", "dec", "label", "given_label", "covered", "ok")}
    return found | {"image": images_of(table, "image"), "reason": next(filter(None, table["reason"].to_pylist()), None)}


def no_label(value: dict, good: dict) -> bool:
    """The object whose label is no number has none; all else is as it was."""
    kept = {name: value[name] for name in ("stamp_id", "ra", "dec", "covered", "ok")}
    return value["given_label"].count(None) == good["given_label"].count(None) + 1 and kept == {name: good[name] for name in kept}


def one_pixel_less(value: dict, good: dict) -> bool:
    """A pixel without a value is 0 and not covered; the others are as they were."""
    changed = value["image"] != good["image"]
    return changed.sum() == 1 and (value["image"][changed] == 0).all() and sorted(value["covered"])[0] == np.float32(1 - 1 / 32**2)


def cosmos(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for file in sorted((mock_survey(folder.parent) / "cosmos").iterdir()):
            copied(file, folder / file.name)
        return folder / f"real_galaxy_{ending}.fits"

    return make


def cosmos_settings() -> CosmosSources:
    return CosmosSources(exclusion="bad_stamp", half_light_radius_arcsec=(0.0, 99.0), magnitude=(0, 99))


def read_cosmos_list(path: Path) -> list:
    return list_sources(cosmos_settings(), path.parent / "real_galaxy_catalog_25.2_mock.fits")[0].to_pylist()


def read_cosmos_images(path: Path) -> list:
    sources, _ = list_sources(cosmos_settings(), path.parent / "real_galaxy_catalog_25.2_mock.fits")
    images = CosmosImages(sources, path.parent)
    return [images(ident).light for ident in sources["ident"].to_pylist()]


def kernel(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        y, x = np.indices((15, 15)) - 7
        image = np.exp(-(x**2 + y**2) / 8.0)
        path = folder / f"kernel.{ending}"
        if ending == "npy":
            np.save(path, image)
        else:
            fits.PrimaryHDU(image).writeto(path)
        return path

    return make


def read_kernel(path: Path) -> np.ndarray:
    from darkhaloscope.lensing.observe import psf_kernel

    return psf_kernel(Psf(kind="kernel", kernel=str(path)), 0.1).numpy()


# --- tables of others --------------------------------------------------------------------------

STAMP_SIZE = 16


def imported_table(folder: Path) -> Path:
    from unit.tasks.test_injection_import import columns

    pq.write_table(pa.table(columns()), folder / "stamps.parquet", row_group_size=3)
    return folder / "stamps.parquet"


def imported_folder(folder: Path) -> Path:
    (folder / "stamps").mkdir()
    shutil.move(imported_table(folder), folder / "stamps" / "part-0.parquet")
    return folder / "stamps" / "part-0.parquet"


def read_imported(path: Path) -> dict:
    dataset = ImportedDataset.model_validate({"kind": "imported", "table": str(path), "stamp_size": STAMP_SIZE})
    return import_shard(path, dataset, "old", "train", 0).to_pydict()


def scores_frame() -> pd.DataFrame:
    n = 40
    return pd.DataFrame(
        {"stamp_id": [f"s{i}" for i in range(n)], "label": np.arange(n) % 2, "score": np.linspace(0.01, 0.99, n), "theta_e": np.ones(n)}
    )


def written(frame: pd.DataFrame, path: Path) -> None:
    """Write a table in the format of its name."""
    if path.suffix == ".fits":
        Table.from_pandas(frame).write(path)
    else:
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)


def scores(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        written(scores_frame(), path)
        return path

    return make


def read_any_scores(path: Path) -> dict:
    from darkhaloscope.evaluation.any_table import open_scores
    from darkhaloscope.evaluation.scored import read_split

    table = open_scores(path)
    read_split(table, "test", str(path))
    return {name: table.column(name).to_pylist() for name in table.column_names}


def read_folder_of_scores(path: Path) -> dict:
    return read_any_scores(path.parent)


def stamp_ids(folder: Path) -> list[str]:
    from unit.learning.band_shards import band_columns, write_band_shards

    columns = band_columns(20)
    write_band_shards(folder, columns, [0, 20])
    return columns["stamp_id"].tolist()


def scores_of_detector(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        ids = stamp_ids(folder)
        frame = pd.DataFrame({"stamp_id": ids, "score": np.linspace(0.01, 0.99, len(ids))})
        written(frame, folder / name)
        return folder / name

    return make


def read_detector_scores(path: Path) -> dict:
    from darkhaloscope.detectors.elsewhere import import_scores

    found = import_scores(path, [path.parent / "shard-000.parquet"], dataset="sky", detector="theirs")
    return {"score": np.asarray(found["score"]), "stamp_id": found["stamp_id"].to_pylist()}


def lenses(folder: Path) -> Path:
    return from_survey(MOCK_LENSES)(folder)


def read_lenses(path: Path) -> list:
    return read_known_lenses(path, "lenscat").to_dict("records")


def lenses_as_fits(folder: Path) -> Path:
    frame = read_known_lenses(lenses(folder), "lenscat")
    written(frame.rename(columns={"theta_e_arcsec": "theta_e"}), folder / "lenses.fits")
    return folder / "lenses.fits"


def read_lenses_as_fits(path: Path) -> list:
    return read_known_lenses(path, "own", {"name": "name", "ra": "ra", "dec": "dec", "theta_e_arcsec": "theta_e"}).to_dict("records")


def read_label_table(path: Path) -> list:
    return read_labels(path).to_dict("records")


def repeated_row(value: list, good: list) -> bool:
    """A row twice is twice there: what reads these tables takes positions as one object (`merge_known_lenses`, `match`)."""
    return value == [*good, good[0]]


def zipped_scores(folder: Path) -> Path:
    scores_frame().to_csv(folder / "scores.csv.gz", index=False)
    return folder / "scores.csv.gz"


def of_zipped_csv(number: str) -> dict[str, Damage]:
    def packed(damage: Damage) -> Damage:
        def apply(path: Path) -> None:
            plain = path.with_suffix("")
            plain.write_bytes(gzip.decompress(path.read_bytes()))
            damage(plain)
            path.write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()

        return apply

    return {name: packed(damage) for name, damage in damages.of_csv(number).items()}


# --- the project's own tables ------------------------------------------------------------------

OWN = Schema("own", (Column("name", "string", "", "Name"), Column("value", "float64", "", "Value")))


def own_table(folder: Path) -> Path:
    write_table(folder / "own.parquet", OWN, OWN.table({"name": ["a", "b", "c"], "value": [1.0, 2.0, 3.0]}))
    return folder / "own.parquet"


def read_own(path: Path) -> dict:
    return read_table(path, OWN).to_pydict()


def score_table(folder: Path) -> Path:
    from darkhaloscope.detectors.schema import LENS_SCORES

    texts = {"string": ["x", "y"], "bool": [True, False]}
    columns = {c.name: texts.get(c.dtype) or np.ones(2, c.dtype) for c in LENS_SCORES.columns}
    write_table(folder / "scores.parquet", LENS_SCORES, LENS_SCORES.table(columns))
    return folder / "scores.parquet"


def read_own_scores(path: Path) -> dict:
    from darkhaloscope.detectors.schema import read_score_table

    return read_score_table(path).to_pydict()


def shard(folder: Path) -> Path:
    stamp_ids(folder)
    return folder / "shard-000.parquet"


def read_shard(path: Path) -> dict:
    from darkhaloscope.learning.index import index_stamps
    from darkhaloscope.learning.pixels import BandPixels

    stamps = index_stamps([path], BandPixels())
    pixels = [BandPixels().decode(path, stamps.files[path], group) for group in range(stamps.files[path].num_row_groups)]
    return {"numbers": stamps.numbers, "labels": stamps.labels, "pixels": np.concatenate(pixels)}


def pairs(folder: Path) -> Path:
    from darkhaloscope.tasks.subhalo.schema import pair_schema
    from unit.learning.pair_shards import SIZE, pair_dataset, write_pairs

    texts = {"string": ["train"] * 3, "bool": [True] * 3}
    columns = {c.name: texts.get(c.dtype) or np.ones(3, c.dtype) for c in pair_schema(SIZE).columns if c.shape is None}
    columns |= {c.name: np.ones((3, *c.shape), np.float32) for c in pair_schema(SIZE).columns if c.shape is not None}
    columns["number"] = np.arange(3)
    return write_pairs(folder / "pairs.parquet", pair_schema(SIZE).table(columns), pair_dataset())


def read_pair_file(path: Path) -> dict:
    from darkhaloscope.learning.pairs import read_pairs

    found = read_pairs([path])
    return {name: getattr(found, name) for name in ("numbers", "labels", "peak_snr", "place", "lens", "images")}


def parent(folder: Path) -> Path:
    from sky import write_parent

    return write_parent(folder / "parent.parquet", 60)


def read_parent_file(path: Path) -> dict:
    from darkhaloscope.tasks.lensfinder.hosts import NAMES, NUMBERS, read_parent

    found = read_parent(path)
    names = {name: found.names[name][found.codes[name]] for name in NAMES}
    return {name: np.asarray(found[name]) for name in NUMBERS} | names


def galaxy_without_a_depth(value: dict, good: dict) -> bool:
    """A galaxy whose depth is not known is in no bounds and becomes no host."""
    return bool(np.isnan(value["psfdepth_r"][0])) and same_but_first(value["psfdepth_r"], good["psfdepth_r"])


def galaxy_twice(value: dict, good: dict) -> bool:
    """The parent sample drops an object that comes again when it is made; a table of it is taken as it is."""
    return all(len(value[k]) == len(good[k]) + 1 and value[k][-1] == good[k][0] for k in good)


def same_but_first(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a[1:] == b[1:]).all())


def record(folder: Path) -> Path:
    values = {"rule": "make_parent", "wildcards": {"survey": "south"}, "params": {"nside": 64}, "outputs": ["a"], "inputs": {}}
    write_json(folder / "record.json", values)
    return folder / "record.json"


def read_record_file(path: Path) -> object:
    from darkhaloscope.jobs.provenance import read_record

    return read_record(path, "a")


def examples(folder: Path) -> Path:
    from darkhaloscope.evaluation.example_table import example_table, write_examples

    write_examples(folder / "examples.parquet", example_table([("pair", 0, "one", "flux", np.ones((4, 4)))]))
    return folder / "examples.parquet"


def read_example_file(path: Path) -> object:
    from darkhaloscope.evaluation.example_table import read_examples

    return read_examples(path, "pair")


def pictures(folder: Path) -> Path:
    from darkhaloscope.stamps.pictures import Pictures, write_pictures

    write_pictures(folder / "pictures.npz", [Pictures("Random", np.ones((2, 3, 8, 8), np.float32), ("a", "b"))])
    return folder / "pictures.npz"


def read_picture_file(path: Path) -> list:
    from darkhaloscope.stamps.pictures import read_pictures

    return [(p.title, p.images, p.captions) for p in read_pictures(path)]


def own_csv(folder: Path) -> Path:
    frame = pd.DataFrame({"galaxy_id": [f"{k}-1" for k in range(9)], "z": np.linspace(0.01, 0.09, 9), "score": np.linspace(50.5, 90.5, 9)})
    frame.to_csv(folder / "lensability.csv", index=False)
    return folder / "lensability.csv"


def read_own_csv(path: Path) -> list:
    return read_csv(path, text=("galaxy_id",), numbers=("z", "score")).to_dict("records")


def selections(folder: Path) -> Path:
    from darkhaloscope.evaluation.selection import Axis, Selection, write

    axes = (Axis("theta_e_arcsec", "arcsec", (0.5, 1.0, 1.5, 2.0, 2.5), (0.5, 1.5, 2.5)),)
    write(folder / "selection.json", [Selection(axes, 0.1, (0.2, 0.3), ((1.0, 0.0, 0.0),) * 3, (), {"fpr": 0.01})])
    return folder / "selection.json"


def read_selections(path: Path) -> list:
    from darkhaloscope.evaluation.selection import read_all

    return [(s.intercept, s.coefficients, s.covariance, s.about, s.axes[0].knots) for s in read_all(path)]


def summary(folder: Path) -> Path:
    entry = {"name": "lens", "question": "?", "headline": "!", "gates_failed": 0, "gates_passed": 3, "href": "report.html"}
    write_json(folder / "summary.json", entry)
    return folder / "summary.json"


def read_summary_file(path: Path) -> tuple:
    from darkhaloscope.report.index import read_summary

    found = read_summary(path)
    return found.name, found.gates_passed, found.href


# --- networks ----------------------------------------------------------------------------------


def foreign_weights(ending: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import torch
        from safetensors.torch import save_file

        state = {"fc.weight": torch.arange(32.0).reshape(2, 16), "fc.bias": torch.zeros(2)}
        path = folder / f"weights.{ending}"
        save_file(state, path) if ending == "safetensors" else torch.save(state, path)
        return path

    return make


def read_weights(path: Path) -> dict:
    from darkhaloscope.learning.foreign import read_state

    return {name: tensor.numpy() for name, tensor in read_state(path).items()}


def of_weights() -> dict[str, Damage]:
    """Words in the place of tensors, and a weight that is NaN."""

    def words(path: Path) -> None:
        import torch
        from safetensors import serialize_file

        if path.suffix == ".pt":
            torch.save({"fc.weight": "many"}, path)
        else:
            serialize_file({}, path)

    def nan(path: Path) -> None:
        import torch
        from safetensors.torch import save_file

        state = {"fc.weight": torch.full((2, 16), float("nan")), "fc.bias": torch.zeros(2)}
        torch.save(state, path) if path.suffix == ".pt" else save_file(state, path)

    return {"wrong type": words, "not a number": nan}


def own_network(which: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import torch

        from darkhaloscope.config.network import Network
        from darkhaloscope.learning.networks import Classifier, Trained, build_network
        from darkhaloscope.learning.scaling import INPUTS, SCALARS, Normalisation
        from darkhaloscope.learning.weights import save_network

        network = Network(channels="bands")
        inputs = (*INPUTS["bands"], *SCALARS)
        with torch.random.fork_rng():
            torch.manual_seed(3)
            module = build_network(network)
        constants = Normalisation(inputs, (0.0,) * len(inputs), (1.0,) * len(inputs), (0.1,) * 3)
        classifier = Classifier(module.eval(), network, constants, STAMP_SIZE, 1)
        save_network(Trained(classifier, [], 1, {"train": 1}), folder / "weights.safetensors", folder / "network.json")
        return folder / which

    return make


def read_network(path: Path) -> dict:
    from darkhaloscope.learning.weights import load_network

    found = load_network(path.parent / "weights.safetensors", path.parent / "network.json")
    return {"first": next(iter(found.module.state_dict().values())).numpy(), "size": found.size, "offset": found.normalisation.offset}


def of_own_weights() -> dict[str, Damage]:
    def nan(path: Path) -> None:
        from safetensors.torch import load_file, save_file

        save_file({name: tensor * float("nan") for name, tensor in load_file(path).items()}, path)

    return {"wrong type": of_weights()["wrong type"], "not a number": nan}


def checkpoint(folder: Path) -> Path:
    import torch

    from darkhaloscope.learning.checkpoints import WholeCheckpoints

    WholeCheckpoints().save_checkpoint({"epoch": 3, "weights": torch.arange(4.0)}, folder / "last.ckpt")
    return folder / "last.ckpt"


def read_checkpoint(path: Path) -> object:
    from darkhaloscope.learning.checkpoints import usable_checkpoint

    found = usable_checkpoint(path)
    return None if found is None else (found["epoch"], found["weights"].numpy())


def starts_anew(value: object, good: object) -> bool:
    """A checkpoint that is not whole is not used; training starts from the beginning, and the log says so."""
    return value is None


# --- texts -------------------------------------------------------------------------------------

CONFIG = 'root: "results/é"\nmanga: {quality: {line: Ha-6564}, lensability: {min_vel_grad: 2.25}}\n'


def config(folder: Path) -> Path:
    (folder / "my.yaml").write_text(CONFIG, encoding="utf-8")
    return folder / "my.yaml"


def read_config(path: Path) -> dict:
    return load({}, ROOT, [path]).plain()


def read_extended(path: Path) -> dict:
    return load({"extends": str(path)}, ROOT).plain()


def of_yaml() -> dict[str, Damage]:
    def written(text: str) -> Damage:
        return lambda path: (path.write_text(text, encoding="utf-8"), None)[1]

    return {
        "wrong type": written("- root\n- results\n"),
        "not a number": written("manga: {lensability: {min_vel_grad: .nan}}\n"),
        "twice": written(CONFIG + "root: results/other\n"),
    }


def checksums(folder: Path) -> Path:
    (folder / "sums.sha1sum").write_text("".join(f"{k:040x}  file-{k}.fits\n" for k in range(1, 9)), encoding="utf-8")
    return folder / "sums.sha1sum"


def of_checksums() -> dict[str, Damage]:
    return {
        "wrong type": lambda path: (path.write_text("many words\n"), None)[1],
        "not a number": lambda path: (path.write_text(path.read_text().replace("0" * 39 + "1", "nan")), None)[1],
        "twice": lambda path: (path.write_text(path.read_text() + f"{99:040x}  file-3.fits\n"), None)[1],
    }


def ones_more(value: object, good: object) -> bool:
    """A row twice is there twice: ids are checked by whoever joins tables by them."""
    return all(len(v) == len(good[k]) + 1 and v[0] == v[-1] for k, v in value.items())


def stays_nan(name: str) -> Callable[[dict, dict], bool]:
    """A schema leaves it to whoever reads a number whether it may be NaN (a score may not: `scored.read_split`)."""
    return lambda value, good: bool(np.isnan(value[name][0])) and value[name][1:] == good[name][1:]


def gap_in_a_picture(value: list, good: list) -> bool:
    """A pixel that is NaN is a gap in a picture."""
    return int(np.isnan(value[0][1]).sum()) == 1


# --- over HTTP ---------------------------------------------------------------------------------


def archive_file(folder: Path) -> Path:
    from unit.archive.misbehaving_server import fits_bytes

    (folder / "galaxy.fits.gz").write_bytes(fits_bytes())
    return folder / "galaxy.fits.gz"


def read_over_http(path: Path) -> bytes:
    """Fetch the file from a server that serves what lies there, and check that it is a whole FITS file."""
    import threading

    from darkhaloscope.archive.checks import check_fits
    from darkhaloscope.archive.download import fetch
    from darkhaloscope.config.manga import Downloads
    from unit.archive.misbehaving_server import Answer, Server

    answer = _answer(path, Answer)
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.script(answer)
        try:
            quick = Downloads(retries=1, first_pause_s=0.5, timeout_s=2)
            target = path.parent / "fetched" / path.name
            fetch(server.url, target, quick, check=functools.partial(check_fits, extensions=["FLUX"]), sleep=lambda _: None)
            return target.read_bytes()
        finally:
            server.released.set()
            server.shutdown()


def _answer(path: Path, answer: type) -> object:
    """What a server says of a path: 404 where nothing is, 403 where it may not read, 500 where its disk fails."""
    try:
        return answer(content=path.read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        return answer(status=404)
    except PermissionError:
        return answer(status=403)
    except OSError:
        return answer(status=500)


# --- the list ----------------------------------------------------------------------------------

ONE_ARRAY = "the file holds one array"
ONE_OF_EACH = "a safetensors or PyTorch file has each name once by its format"
RAW = "pixels of a FITS image without CHECKSUM may be any numbers"
TRANSFER = "a transfer checks sums and structure; what a whole file says is for its reader"
BYTES = "the file is bytes with their own sum: a changed content is a damaged one"

READERS = (
    Reader("MaNGA maps", from_manga("*MAPS*.fits.gz"), read_maps_file, damages.of_fits_images("EMLINE_GVEL", (23, 16, 16))),
    Reader(
        "dapall",
        catalogs("dapall"),
        ranked_galaxies,
        damages.of_fits_table("NSA_ELPETRO_TH50_R", SAMPLE.daptype),
        {"not a number": first_left_out},
    ),
    Reader("drpall", catalogs("drpall"), ranked_galaxies, damages.of_fits_table("nsa_z", "MANGA")),
    Reader(
        "plain maps, FITS", plain_fits, read_plain_file, damages.of_fits_images("VELOCITY", (15, 15)), {"not a number": without_a_spaxel}
    ),
    Reader("plain maps, NPZ", plain_npz, read_plain_file, damages.of_npz("velocity"), {"not a number": without_a_spaxel}),
    Reader("metrics", metrics, read_metrics, damages.of_json("vel_grad")),
    Reader("facts of a source tensor", tensor("json"), read_tensor, damages.of_json("z")),
    Reader("source tensor", tensor("npz"), read_tensor, damages.of_npz("velocity")),
    Reader("bank of sources", bank, lambda path: read_bank(path).to_pydict(), damages.of_parquet("z")),
    Reader(
        "sweep",
        from_survey("south/sweep/10.1/sweep-150p000-155p005.fits", *BRICK_TABLES),
        selected_galaxies,
        damages.of_fits_table("FLUX_R"),
        {"not a number": first_left_out},
    ),
    Reader(
        "brick bounds",
        from_survey("survey-bricks.fits.gz", "south/survey-bricks-dr10-south.fits.gz"),
        read_bricks,
        damages.of_fits_table("RA1"),
    ),
    Reader(
        "brick conditions",
        from_survey("south/survey-bricks-dr10-south.fits.gz", "survey-bricks.fits.gz"),
        read_bricks,
        damages.of_fits_table("PSFSIZE_R"),
        {"not a number": unknown_conditions},
    ),
    Reader(
        "brick image",
        coadds(f"legacysurvey-{BRICK}-image-r.fits.fz"),
        read_cutout,
        damages.of_compressed_image((150, 150)),
        {"not a number": pixel_refused},
    ),
    Reader("brick PSF size", coadds(f"legacysurvey-{BRICK}-psfsize-r.fits.fz"), read_cutout, damages.of_compressed_image((150, 150))),
    Reader(
        "cutouts, FITS",
        cutout_folder("fits"),
        read_folder,
        damages.of_fits_images(0, (1, 20, 20)),
        {"not a number": pixel_is_bad},
        without={"overwritten": RAW},
    ),
    Reader("cutouts, NPZ", cutout_folder("npz"), read_folder, damages.of_npz("image"), {"not a number": pixel_is_bad}),
    Reader(
        "cutouts of a table",
        many_cutouts("mine.parquet"),
        read_many_cutouts,
        damages.of_parquet("label"),
        {"not a number": no_label},
    ),
    Reader("cutouts, NPZ of many", many_cutouts("mine.npz"), read_many_cutouts, damages.of_npz("image"), {"not a number": one_pixel_less}),
    *(
        Reader(
            f"observed lens, {name}",
            observed(f"{name}.fits"),
            read_observed,
            damages.of_fits_images(0, pixel),
            {"not a number": check} if check else {},
            without={"overwritten": RAW},
        )
        for name, pixel, check in (
            ("image", (20, 20), pixel_left_out),
            ("noise", (20, 20), pixel_left_out),
            ("weight", (20, 20), pixel_left_out),
            ("mask", (20, 20), pixel_left_out),  # NaN is not 0
            ("psf", (4, 4), None),
            ("velocity", (20, 20), velocity_left_out),
            ("velocity_error", (20, 20), velocity_left_out),
        )
    ),
    Reader("table of observed lenses", observed("table.csv"), read_observed, damages.of_csv("z_lens"), {"not a number": redshift_unknown}),
    Reader("labels of cutouts", labelled_cutouts, read_labelled_cutouts, damages.of_csv("label"), {"not a number": no_label}),
    Reader(
        "COSMOS catalogue", cosmos("catalog_25.2_mock"), read_cosmos_list, damages.of_fits_table("MAG"), {"not a number": first_left_out}
    ),
    Reader("COSMOS fits", cosmos("catalog_25.2_mock_fits"), read_cosmos_list, damages.of_fits_table("fit_status")),
    Reader(
        "COSMOS selection",
        cosmos("catalog_25.2_mock_selection"),
        read_cosmos_list,
        damages.of_fits_table("sn_ellip_gauss"),
        {"not a number": first_left_out},
    ),
    Reader("COSMOS images", cosmos("images_25.2_mock_n1"), read_cosmos_images, damages.of_fits_images(0, (20, 20))),
    Reader("PSF kernel, NPY", kernel("npy"), read_kernel, damages.of_npy(), without={"twice": ONE_ARRAY}),
    Reader("PSF kernel, FITS", kernel("fits"), read_kernel, damages.of_fits_images(0, (7, 7))),
    Reader("imported stamps", imported_table, read_imported, damages.of_parquet("ra")),
    Reader("imported stamps, folder", imported_folder, lambda path: read_imported(path.parent), damages.of_parquet("theta_e_arcsec")),
    Reader("scores, Parquet", scores("scores.parquet"), read_any_scores, damages.of_parquet("score")),
    Reader("scores, CSV", scores("scores.csv"), read_any_scores, damages.of_csv("score")),
    Reader("scores, CSV in gzip", zipped_scores, read_any_scores, of_zipped_csv("score")),
    Reader("scores, FITS", scores("scores.fits"), read_any_scores, damages.of_fits_table("score")),
    Reader("scores, folder", scores("parts/part-0.parquet"), read_folder_of_scores, damages.of_parquet("label"), table="parts"),
    Reader("scores of a detector, Parquet", scores_of_detector("theirs.parquet"), read_detector_scores, damages.of_parquet("score")),
    Reader("scores of a detector, CSV", scores_of_detector("theirs.csv"), read_detector_scores, damages.of_csv("score")),
    Reader("scores of a detector, FITS", scores_of_detector("theirs.fits"), read_detector_scores, damages.of_fits_table("score")),
    Reader("known lenses", lenses, read_lenses, damages.of_csv("RA [deg]"), {"twice": repeated_row}),
    Reader("known lenses, FITS", lenses_as_fits, read_lenses_as_fits, damages.of_fits_table("ra"), {"twice": repeated_row}),
    Reader("labels", from_survey(MOCK_LABELS), read_label_table, damages.of_csv("ra"), {"twice": repeated_row}),
    Reader("own table", own_table, read_own, damages.of_parquet("value"), {"twice": ones_more, "not a number": stays_nan("value")}),
    Reader(
        "own scores", score_table, read_own_scores, damages.of_parquet("score"), {"twice": ones_more, "not a number": stays_nan("score")}
    ),
    Reader("stamps", shard, read_shard, damages.of_parquet("label")),
    Reader("noiseless pairs", pairs, read_pair_file, damages.of_parquet("peak_snr")),
    Reader(
        "parent sample",
        parent,
        read_parent_file,
        damages.of_parquet("psfdepth_r"),
        {"not a number": galaxy_without_a_depth, "twice": galaxy_twice},
    ),
    Reader("provenance record", record, read_record_file, damages.of_json("rule")),
    Reader("examples", examples, read_example_file, damages.of_parquet("width")),
    Reader("pictures", pictures, read_picture_file, damages.of_npz("images_0"), {"not a number": gap_in_a_picture}),
    Reader("own CSV", own_csv, read_own_csv, damages.of_csv("z"), {"twice": repeated_row}),
    Reader("selection functions", selections, read_selections, damages.of_json("degree")),
    Reader("summary of a report", summary, read_summary_file, damages.of_json("gates_passed")),
    Reader("foreign weights, safetensors", foreign_weights("safetensors"), read_weights, of_weights(), without={"twice": ONE_OF_EACH}),
    Reader("foreign weights, PyTorch", foreign_weights("pt"), read_weights, of_weights(), without={"twice": ONE_OF_EACH}),
    Reader("own weights", own_network("weights.safetensors"), read_network, of_own_weights(), without={"twice": ONE_OF_EACH}),
    Reader("own network", own_network("network.json"), read_network, damages.of_json("image_size")),
    Reader(
        "checkpoint",
        checkpoint,
        read_checkpoint,
        {},
        dict.fromkeys(damages.EVERYWHERE, starts_anew),
        dict.fromkeys(damages.OF_CONTENT, BYTES),
    ),
    Reader("config", config, read_config, of_yaml()),
    Reader("config that is extended", config, read_extended, of_yaml()),
    Reader("checksums", checksums, lambda path: read_checksums(path), of_checksums()),
    Reader("download", archive_file, read_over_http, {}, without=dict.fromkeys(damages.OF_CONTENT, TRANSFER)),
)
