"""The examples that a report shows: chosen, rendered once, and read back as they were."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import TableError, images
from darkhaloscope.evaluation.example_table import PAIR, SOURCE, read_examples, write_examples
from darkhaloscope.evaluation.examples import DISK_PIXELS, _caption, choose_examples, take_in_turn
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import noiseless_pairs, render_rows


@pytest.fixture(scope="module")
def dataset():
    return SubhaloDataset(
        size={"train": 0, "validation": 0, "test": 8}, sources={"mix": {"disk": 1.0}, "sample": None},
        splits={"tolerance": 0.5}, instrument={"stamp_size": 24, "pixel_scale_arcsec": 0.12}, rendering={"supersampling": 2, "accuracy": 0.05},
    )  # fmt: skip


def test_examples_are_rendered_once_and_read_as_they_are(dataset, tmp_path):
    stamps = render_rows(build_manifest("few", dataset, None, Cosmology()), dataset, None, Cosmology())
    pq.write_table(stamps, tmp_path / "00000.parquet")
    write_examples(
        tmp_path / "examples.parquet", choose_examples(tmp_path / "00000.parquet", dataset, None, Cosmology(), pairs=3, sources=2)
    )
    captions, pictures = read_examples(tmp_path / "examples.parquet", PAIR)
    positives = stamps.filter(pa.array(np.asarray(stamps["label"]) == 1)).combine_chunks()
    strongest = int(np.argmax(positives["d_prime_both"].to_numpy()))
    assert len(captions) == 3 and f"ideal d′ {positives['d_prime_flux'][strongest].as_py():.1f} in flux" in captions[0]
    row = positives.take([strongest])
    for name in ("flux", "velocity", "mask"):
        np.testing.assert_array_equal(pictures[name][0], images(row, name)[0].astype(np.float32))
    for name, expected in noiseless_pairs(row, dataset, None, Cosmology()).items():
        np.testing.assert_allclose(pictures[name][0], expected[0], rtol=1e-5, atol=1e-6)
    captions, pictures = read_examples(tmp_path / "examples.parquet", SOURCE)
    inclination = np.degrees(positives["disk_inclination_rad"].to_numpy()[:2])
    assert captions == tuple(f"disk · {i:.0f}° inclined" for i in inclination)
    assert pictures["flux"].shape == pictures["velocity"].shape == pictures["valid"].shape == (2, DISK_PIXELS, DISK_PIXELS)


def test_files_that_hold_no_examples_are_named(tmp_path):
    (tmp_path / "page.parquet").write_text("<html>")
    with pytest.raises(TableError, match=r"page.parquet: expected the table of rendered examples.*rule choose_examples"):
        read_examples(tmp_path / "page.parquet", PAIR)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(TableError, match=r"other.parquet: expected the columns group, example.*found x"):
        read_examples(tmp_path / "other.parquet", PAIR)


def test_sources_are_taken_in_turn():
    kinds, galaxies = ["manga", "disk", "manga", "hybrid", "manga", "disk"], ["a", None, "a", "a", "b", None]
    # In turn manga, hybrid, disk, then what is left; the second stamp of galaxy a is no other source.
    assert take_in_turn(kinds, galaxies, 4) == [0, 4, 3, 1]
    assert take_in_turn(kinds, galaxies, 9) == [0, 4, 3, 1, 5]


@pytest.mark.parametrize("contrast", ["subhalo", "lensed"])
def test_captions_name_what_is_looked_for(contrast):
    row = {"source_kind": "disk", "theta_e_arcsec": 1.0, "peak_snr": 20.0, "d_prime_flux": 3.0, "d_prime_velocity": 5.0}
    row |= {"subhalo_profile": "nfw", "subhalo_theta_e_arcsec": None, "log10_mass_msun": 9.5}
    sought = {"subhalo": "NFW subhalo of 10⁹·⁵ M☉", "lensed": "lens of θ_E 1.00″"}[contrast]
    assert _caption(row, contrast) == f"disk source, {sought}, peak S/N 20; ideal d′ 3.0 in flux, 5.0 in velocity"
