"""The parent sample as it is: every galaxy once, its own pixels, and in which sky it lies; then scored, ranked and shown."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.lensfinder import LensFinderDataset
from darkhaloscope.core.tables import images, write_table
from darkhaloscope.learning.cutouts import best_stamps, score_cutouts
from darkhaloscope.learning.weights import load_network
from darkhaloscope.report.candidates import rank_parents, search_page
from darkhaloscope.surveys.legacysurvey.schema import PARENT
from darkhaloscope.tasks.lensfinder.search import cut_parents, parent_pieces, search_schema
from sky import parent_rows, write_parent
from toy_finder import train_toy

PLACES = ((100.3, 97.8), (60.2, 120.0), (130.0, 70.4), (3.0, 100.0))  # the last one leaves the brick


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return train_toy(tmp_path_factory.mktemp("toy"), size=40)


@pytest.fixture
def sky(tmp_path, brick_files):
    """Four galaxies of a written brick and one of another; the first is a known lens. Return the parent sample and the dataset."""
    brick_files.write()
    rows = parent_rows(0, 5).to_pandas()
    rows.loc[:3, ["ra", "dec"]] = [list(brick_files.sky(*place)) for place in PLACES]
    rows["brickname"] = [brick_files.name] * 4 + ["9999p005"]
    rows["objid"] = [4, 3, 2, 1, 0]
    rows["known_lens"] = [True, False, False, False, False]
    rows["psfsize_r"] = np.float32([1.3, 1.3, 3.0, 1.3, 1.3])
    rows["healpix"] = [1, 1, 2, 2, 3]
    rows["mag_r"] = rows["mag_r"] - np.float32(0.2)  # corrected for extinction
    parent = tmp_path / "parent.parquet"
    write_table(parent, PARENT, PARENT.table({c.name: rows[c.name].to_numpy() for c in PARENT.columns}))
    values = {"survey": "mock", "sources": {"mix": {"sersic": 1.0}}, "camera": {"stamp_size": 40}, "splits": {"tolerance": 1.0}}
    return parent, rows, LensFinderDataset.model_validate(values)


def cut(sky, brick_files):
    parent, _, dataset = sky
    parts = list(cut_parents(parent, {brick_files.name: brick_files.folder}, dataset, maskbits=(1,), max_bad_fraction=0.2))
    return pa.concat_tables(parts)


def test_bricks_are_shared_out_whole_and_every_galaxy_counts_once(tmp_path):
    parent = write_parent(tmp_path / "parent.parquet", 1010)  # 20 bricks of 50, one of 10
    pieces = parent_pieces(parent, least=120)
    assert pieces["galaxies"].sum() == 1010 and pieces["brickname"].is_unique and pieces["brickname"].is_monotonic_increasing
    sizes = pieces.groupby("piece")["galaxies"].sum()
    assert list(sizes.index) == list(range(len(sizes))) and (sizes[:-1] == 150).all() and sizes.iloc[-1] == 110


def test_each_galaxy_of_the_bricks_has_its_own_pixels_and_what_is_known_of_it(sky, brick_files):
    dataset = sky[2]
    stamps = cut(sky, brick_files)
    assert stamps.schema.equals(search_schema(40).arrow())
    # In the order of their numbers, the galaxy of the other brick left out.
    assert stamps["stamp_id"].to_pylist() == [f"{brick_files.name}-{k}" for k in (1, 2, 3, 4)]
    assert stamps["ok"].to_pylist() == [False, True, True, True] and "leaves brick" in stamps["reason"][0].as_py()
    pixels = images(stamps, "image")
    for k, (x, y) in enumerate(reversed(PLACES)):
        if k == 0:
            assert not pixels[0].any()
            continue
        x0, y0 = round(x - 19.5), round(y - 19.5)
        for band, plane in zip("grz", pixels[k], strict=True):
            assert np.array_equal(plane, brick_files.image[band][y0 : y0 + 40, x0 : x0 + 40])
    assert stamps["known_lens"].to_pylist() == [False, False, False, True]
    low, high = dataset.hosts.psfsize_r_arcsec
    assert not low <= 3.0 <= high and stamps["like_training"].to_pylist() == [True, False, True, True]
    assert stamps["psfsize_r"].to_pylist()[1:] == pytest.approx([1.3] * 3)  # of the brick at the galaxy
    # Magnitudes as stamps have them, and selection functions with them: of the flux as observed, whatever the parent sample's are.
    flux = parent_rows(0, 4).to_pandas()["flux_r"].to_numpy(float)[::-1]
    assert stamps["mag_r"].to_pylist() == pytest.approx((22.5 - 2.5 * np.log10(flux)).tolist(), rel=1e-6)
    # Galaxies of one HEALPix cell lie in one split.
    split = stamps["split"].to_pylist()
    assert split[0] == split[1] and split[2] == split[3] and set(split) <= {"train", "validation", "test"}


def test_the_sample_is_scored_ranked_and_its_known_lens_named(sky, brick_files, toy, tmp_path):
    write_table(tmp_path / "stamps.parquet", search_schema(40), cut(sky, brick_files))
    networks = {"toy": [load_network(*toy)], "other": [load_network(*toy)]}
    scored = score_cutouts(tmp_path / "stamps.parquet", networks)
    assert len(scored) == 4 and scored["score_toy"].notna().sum() == 3
    best = best_stamps(tmp_path / "stamps.parquet", scored, ["toy", "other"], 2)
    highest = scored.sort_values("score_toy", ascending=False)["stamp_id"].tolist()
    assert sorted(best["stamp_id"].to_pylist()) == sorted(highest[:2])
    pq.write_table(best, tmp_path / "best.parquet")
    lens = scored.loc[scored["known_lens"], "object_id"].item()
    known = pa.table({"object_id": [-1, lens], "name": ["far away", "J1506+0005"]})
    ranked = rank_parents([pa.Table.from_pandas(scored, preserve_index=False)], known, "toy")
    assert ranked["stamp_id"].to_pylist()[:3] == highest[:3] and ranked["rank"].to_pylist() == [1, 2, 3, 4]
    assert ranked["score"].null_count == 1 and ranked["score"][3].as_py() is None and "score_other" not in ranked.column_names
    assert dict(zip(ranked["object_id"].to_pylist(), ranked["known_name"].to_pylist(), strict=True))[lens] == "J1506+0005"
    page = search_page(ranked, [tmp_path / "best.parquet"], shown=2, survey="dr10", mock=False, network="toy", seeds=1, table="toy.csv")
    assert page.count("data:image/png;base64") == 2 and "3 galaxies, nothing injected, of <b>survey dr10</b>" in page
    assert "Of 1 known lenses among them" in page and "1 have a PSF outside the range" in page and "1 have no usable cutout" in page
    first = ranked.slice(0, 1).to_pylist()[0]
    assert f"https://www.legacysurvey.org/viewer?ra={first['ra']:.6f}&amp;dec={first['dec']:.6f}&amp;layer=ls-dr10&amp;zoom=16" in page
