"""The bank of sources: schema, scaling columns, and which galaxies it takes."""

import json
import logging

import numpy as np
import pandas as pd
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Galaxies, Quality
from darkhaloscope.core.tables import TableError, images
from darkhaloscope.ifu.bank import BANK, BankError, bank_schema, build_bank, read_bank, write_bank
from darkhaloscope.ifu.lensability import LensabilityError, read_metrics
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.ifu.tensors import build_source_tensor, write_source_tensor


@pytest.fixture
def source(make_maps, tmp_path):
    """Function that leaves the files of one source tensor and returns their paths."""

    def make(galaxy_id="1000-1901", physical_id="1-1", size=64):
        maps = make_maps(cards={"PLATEIFU": galaxy_id, "MANGAID": physical_id}, velocity=40 + 10.0 * (np.indices((34, 34))[1] - 16.5))
        result = build_source_tensor(maps, measure_quality(maps, Quality()), size, Cosmology(), "a" * 64)
        paths = tmp_path / f"source_tensor_{galaxy_id}.npz", tmp_path / f"facts_{galaxy_id}.json"
        write_source_tensor(result, *paths)
        return paths

    return make


def scores(**tiers):
    rows = [(name.replace("_", "-").strip("-p"), tier, 0.0 if tier == "reject" else 70.0, "why") for name, tier in tiers.items()]
    return pd.DataFrame(rows, columns=["galaxy_id", "tier", "score", "reasons"])


LISTED = Galaxies(listed=("1000-1901",))


def test_row_of_a_galaxy(source, tmp_path):
    npz, sidecar = source()
    bank = build_bank([(npz, sidecar)], scores(p1000_1901="good"), LISTED)
    write_bank(tmp_path / "bank.parquet", bank)
    bank = read_bank(tmp_path / "bank.parquet")
    BANK.check(bank.schema, "bank")
    row, side = bank.select([c.name for c in BANK.columns if c.shape is None]).to_pylist()[0], json.loads(sidecar.read_text())
    assert row["galaxy_id"] == "1000-1901"
    assert (row["tier"], row["score"], row["used_although_rejected"]) == ("good", 70.0, False)
    assert row["inclination_rad"] == pytest.approx(np.arccos(0.6))
    assert row["pixel_scale_kpc"] == side["pixel_scale_kpc"]
    assert row["half_light_radius_kpc"] == side["half_light_radius_kpc"]
    with np.load(npz) as maps:
        valid = maps["valid"]
        np.testing.assert_array_equal(images(bank, "flux")[0], maps["flux_per_arcsec2"])
        np.testing.assert_array_equal(images(bank, "valid")[0], valid)
        velocity = images(bank, "velocity")[0]
        # float32 of values up to 200.
        np.testing.assert_allclose(velocity[valid] + row["v_systemic_kms"], maps["velocity"][valid], atol=1e-4)
    assert row["v_systemic_kms"] == pytest.approx(40, abs=1e-3)
    assert not velocity[~valid].any()


def test_rejected_galaxies_are_left_out(source):
    bank = build_bank([source(), source("1000-1902", "1-2")], scores(p1000_1901="elite", p1000_1902="reject"), LISTED)
    assert bank.column("galaxy_id").to_pylist() == ["1000-1901"]


def test_rejected_galaxy_that_the_config_names_is_used_with_a_warning(source, caplog):
    galaxies = Galaxies(listed=("1000-1901",), use_rejected=("1000-1901",))
    with caplog.at_level(logging.WARNING, logger="darkhaloscope"):
        bank = build_bank([source()], scores(p1000_1901="reject"), galaxies)
    assert bank.column("used_although_rejected").to_pylist() == [True]
    assert "galaxy 1000-1901 is used although the lensability score rejects it (why)" in caplog.text


def test_two_observations_of_one_galaxy_keep_their_physical_id(source):
    bank = build_bank([source(), source("1000-1902", "1-1")], scores(p1000_1901="elite", p1000_1902="good"), LISTED)
    assert bank.column("physical_id").to_pylist() == ["1-1", "1-1"]


def test_errors(source):
    with pytest.raises(BankError, match="galaxy 1000-1901 has no row in the lensability table"):
        build_bank([source()], scores(p1_1="good"), LISTED)
    with pytest.raises(BankError, match="no galaxy is left"):
        build_bank([source()], scores(p1000_1901="reject"), LISTED)
    with pytest.raises(BankError, match="comes twice"):
        build_bank([source(), source()], scores(p1000_1901="good"), LISTED)
    with pytest.raises(BankError, match="different sizes"):
        build_bank([source(), source("1000-1902", size=32)], scores(p1000_1901="good", p1000_1902="good"), LISTED)


def test_maps_that_are_not_finite_are_refused(source):
    npz, sidecar = source()
    with np.load(npz) as maps:
        content = dict(maps)
    content["velocity"][content["valid"]] = np.nan
    np.savez(npz, **content)
    with pytest.raises(BankError, match="the velocity of galaxy 1000-1901 is not finite"):
        build_bank([(npz, sidecar)], scores(p1000_1901="good"), LISTED)


def test_bank_of_another_size(source, tmp_path):
    bank = build_bank([source(size=32)], scores(p1000_1901="good"), LISTED)
    bank_schema(32).check(bank.schema, "bank")
    write_bank(tmp_path / "bank.parquet", bank)
    assert images(read_bank(tmp_path / "bank.parquet"), "flux").shape == (1, 32, 32)
    with pytest.raises(TableError, match="does not exist"):
        read_bank(tmp_path / "absent.parquet")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<!DOCTYPE html>", b"[]", b"{}"])
def test_damaged_tensors_and_metrics_are_named(source, tmp_path, content):
    npz, sidecar = source()
    whole = sidecar.read_bytes()
    sidecar.write_bytes(content)
    with pytest.raises(BankError, match=r"\.json: .*build the source tensor again"):
        build_bank([(npz, sidecar)], scores(p1000_1901="good"), LISTED)
    sidecar.write_bytes(whole)
    npz.write_bytes(content)
    with pytest.raises(BankError, match=r"\.npz: expected the physical maps of galaxy 1000-1901.*build its source tensor again"):
        build_bank([(npz, sidecar)], scores(p1000_1901="good"), LISTED)
    if content != b"{}":
        with pytest.raises(LensabilityError, match=r"\.npz: expected quality metrics"):
            read_metrics(npz)
