"""Hosts, splits, grids and rows of a lens-finder manifest."""

import csv
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from darkhaloscope.config.lensfinder import INJECTIONS, LensFinderDataset, SkySplits
from darkhaloscope.core.tables import read_table
from darkhaloscope.stamps.manifest import ManifestError, read_rows, write_manifest
from darkhaloscope.tasks.lensfinder.hosts import choose_hosts, read_parent, split_regions
from darkhaloscope.tasks.lensfinder.manifest import draw_manifest, list_bricks
from darkhaloscope.tasks.lensfinder.priors import GRIDDED, share_galaxies
from darkhaloscope.tasks.lensfinder.schema import MANIFEST
from sky import write_parent

COUNT = 16000


def dataset(**values) -> LensFinderDataset:
    base = {
        "injection": "v4",
        "sources": {"mix": {"sersic": 1.0}},
        "size": {"train": 5184, "validation": 800, "test": 1000},
        "shard_size": 300,
    }
    return LensFinderDataset.model_validate({**base, **values})


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return read_parent(write_parent(tmp_path_factory.mktemp("parent") / "parent.parquet", COUNT))


def built(parent, folder, asked, galaxies=None, name="x") -> pd.DataFrame:
    write_manifest(folder / "manifest.parquet", MANIFEST, draw_manifest(name, asked, parent, galaxies or {}))
    list_bricks(folder / "manifest.parquet", asked, folder / "bricks.csv")
    return read_table(folder / "manifest.parquet", MANIFEST).to_pandas()


@pytest.fixture(scope="module")
def manifest(parent, tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifest")
    return built(parent, folder, dataset()), folder


def test_splits_have_the_asked_stamps_half_of_them_controls(manifest):
    table, _ = manifest
    assert table.groupby("split").size().to_dict() == {"train": 5184, "validation": 800, "test": 1000}
    assert (table.groupby("split")["label"].mean() == 0.5).all()
    assert (table["is_control"] == (table["label"] == 0)).all() and (table["region_split"] == table["split"]).all()
    assert table["number"].is_unique and table["stamp_id"].is_unique and table["task_id"].is_unique


def test_no_region_host_or_pixel_is_shared_by_splits(manifest):
    table, _ = manifest
    for key in ("region_id", "object_id"):
        assert table.groupby(key)["split"].nunique().max() == 1
    ra, dec = np.radians(table["ra"]), np.radians(table["dec"])
    place = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], 1)
    pairs = cKDTree(place).query_pairs(np.radians(64 * 0.262 * np.sqrt(2) / 3600), output_type="ndarray")
    split = table["split"].to_numpy()
    assert len(pairs) and (split[pairs[:, 0]] == split[pairs[:, 1]]).all()


def test_every_galaxy_serves_once_and_known_lenses_never(manifest, parent):
    table, _ = manifest
    assert table["object_id"].is_unique
    lenses = set(parent["object_id"][parent["known_lens"]].tolist())
    assert lenses and not lenses & set(table["object_id"])


def test_controls_match_positives_in_bins_of_psf_depth_and_magnitude(manifest, parent):
    table, _ = manifest
    for split, rows in table.groupby("split"):
        for name in ("psfsize_r", "psfdepth_r", "mag_r"):
            # Quartiles of all galaxies are those of the bins: both classes have the same counts in each, but for galaxies left over.
            edges = np.quantile(table[name], [0.25, 0.5, 0.75])
            counts = [np.bincount(np.searchsorted(edges, rows.loc[rows["label"] == k, name]), minlength=4) for k in (0, 1)]
            assert np.abs(counts[0] - counts[1]).max() <= 0.1 * len(rows) / 8 + 5, (split, name)


def test_the_grid_is_walked_whole(manifest):
    """2,592 training positives are four walks through the 648 cells of v4."""
    table, _ = manifest
    positives = table[(table["label"] == 1) & (table["split"] == "train")]
    axes = [k for k, v in INJECTIONS["v4"].items() if isinstance(v, dict)]
    cells = Counter(map(tuple, positives[axes].to_numpy()))
    assert len(cells) == 9 * 4 * 3 * 3 * 2 and set(cells.values()) == {4}
    assert set(axes) <= set(GRIDDED)


def test_controls_have_no_arc(manifest):
    table, _ = manifest
    controls = table[table["label"] == 0]
    assert (controls["theta_e_arcsec"] == 0).all()
    assert controls[["src_dmag", "src_gr", "lens_e", "source_kind", "src_x_arcsec"]].isna().all(axis=None)
    assert table.loc[table["label"] == 1, ["src_dmag", "src_gr", "lens_e", "source_kind", "src_e"]].notna().all(axis=None)


def test_a_shard_reads_few_bricks_and_its_rows_alone(manifest):
    table, folder = manifest
    rows = read_rows(folder / "manifest.parquet", MANIFEST, "validation", 1, 300).to_pandas()
    pd.testing.assert_frame_equal(rows, table[table["split"] == "validation"].iloc[300:600].reset_index(drop=True))
    with open(folder / "bricks.csv", newline="") as file:
        listed = [(r["split"], int(r["shard"]), r["brickname"]) for r in csv.DictReader(file)]
    assert sorted(b for s, k, b in listed if (s, k) == ("validation", 1)) == sorted(set(rows["brickname"]))
    # Bricks come in order: neighbouring shards share one brick at most.
    for shard in range(3):
        here, after = ({b for s, k, b in listed if (s, k) == ("train", shard + d)} for d in (0, 1))
        assert len(here & after) <= 1
    with pytest.raises(ManifestError, match="build_manifest"):
        read_rows(folder / "manifest.parquet", MANIFEST, "validation", 9, 300)
    with pytest.raises(ManifestError, match="has 800 rows of split validation, the dataset 802; make it again"):
        list_bricks(folder / "manifest.parquet", dataset(size={"train": 5184, "validation": 802, "test": 1000}), folder / "other.csv")


def test_a_row_keeps_its_parameters_whatever_other_rows_there_are(parent, tmp_path):
    free = {"injection": "gen5"}
    table, fewer = (
        built(parent, tmp_path, dataset(**free, size=size))
        for size in ({"train": 800, "validation": 200, "test": 200}, {"train": 200, "validation": 0, "test": 0})
    )
    both = table.merge(fewer, on="task_id", suffixes=("", "_of_fewer"))
    assert len(both) > 100
    for name in ("theta_e_arcsec", "src_dmag", "src_x_arcsec", "lens_phi_rad", "src_gr", "shear"):
        assert both[name].equals(both[f"{name}_of_fewer"].rename(name))


def test_replicates_repeat_hosts_with_other_injections_and_never_controls(parent, tmp_path):
    table = built(parent, tmp_path, dataset(injection="gen5", hosts={"replicates": 4}, size={"train": 2000, "validation": 0, "test": 0}))
    positives, controls = table[table["label"] == 1], table[table["label"] == 0]
    assert (positives.groupby("object_id").size() == 4).all() and controls["object_id"].is_unique
    assert positives["theta_e_arcsec"].is_unique
    assert not set(positives["object_id"]) & set(controls["object_id"])


def test_paired_controls_are_the_same_galaxies(parent, tmp_path):
    table = built(parent, tmp_path, dataset(injection="v3", controls="paired", size={"train": 600, "validation": 0, "test": 0}))
    assert (table.groupby("object_id")["label"].agg(list).map(sorted) == "").sum() == 0
    assert table.groupby("object_id")["label"].agg(lambda x: tuple(sorted(x))).unique().tolist() == [(0, 1)]


def test_source_galaxies_are_split_and_shared_by_their_fractions(parent, tmp_path):
    asked = dataset(injection="gen5", sources={"mix": {"cosmos": 0.5, "sersic": 0.5}})
    galaxies = {"cosmos": share_galaxies("cosmos", [str(i) for i in range(200)], np.linspace(0.1, 1, 200), asked)}
    table = built(parent, tmp_path, asked, galaxies)
    real = table[table["source_kind"] == "cosmos"]
    assert real.groupby("source_id")["split"].nunique().max() == 1
    assert len(real) / (table["label"] == 1).sum() == pytest.approx(0.5, abs=0.03)
    # A galaxy keeps its own size.
    assert np.allclose(real["src_reff_arcsec"], np.linspace(0.1, 1, 200)[real["source_id"].astype(int)])
    assert table.loc[table["source_kind"] == "sersic", "source_id"].isna().all()


def test_two_datasets_of_one_survey_split_the_sky_alike(parent):
    one = choose_hosts(parent, dataset(seed=1, size={"train": 400, "validation": 100, "test": 100}))
    two = choose_hosts(parent, dataset(seed=2, hosts={"psfsize_r_arcsec": [1.2, 1.5]}, size={"train": 400, "validation": 100, "test": 100}))
    regions = [{s: set(parent["healpix"][c.host].tolist()) for s, c in chosen.items()} for chosen in (one, two)]
    assert not any(regions[0][a] & regions[1][b] for a in regions[0] for b in regions[1] if a != b)


def test_realised_shares_that_differ_stop_the_build(parent):
    cells = np.repeat([1, 2, 3], [50, 30, 20])
    with pytest.raises(ManifestError, match=r"asked 0\.700"):
        split_regions(cells, SkySplits())
    with pytest.raises(ManifestError, match="source galaxies"):
        share_galaxies("cosmos", ["1", "2", "3"], None, dataset())


def test_too_few_galaxies_are_counted(parent):
    with pytest.raises(ManifestError, match="enough for .* stamps"):
        choose_hosts(parent, dataset(size={"train": 40000, "validation": 0, "test": 0}))


def test_sources_that_are_not_given_are_named(parent, tmp_path):
    with pytest.raises(ManifestError, match="cosmos sources"):
        built(parent, tmp_path, dataset(sources={"mix": {"cosmos": 1.0}}))
    assert not (tmp_path / "manifest.parquet").exists()
