"""The plain layout: any instrument's maps through the same quality, tensor and bank, whatever their sampling and shape."""

import json
import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from pydantic import ValidationError

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Archive, Downloads, Galaxies, Lensability, Quality, Sample
from darkhaloscope.ifu.bank import BankError, build_bank
from darkhaloscope.ifu.inspection import inspection_page
from darkhaloscope.ifu.lensability import lensability_table, score_lensability
from darkhaloscope.ifu.members import read_galaxy
from darkhaloscope.ifu.plain.file import PlainMapsError, write_plain
from darkhaloscope.ifu.plain.maps import fillers, outline, read_plain
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.ifu.retrieve import retrieve_galaxy
from darkhaloscope.ifu.tensors import TensorError, build_source_tensor, write_left_out, write_source_tensor

FACTS = {"galaxy_id": "NGC1", "instrument": "ALMA", "line": "CO(2-1)", "flux_unit": "Jy/beam km/s", "z": 0.017, "psf_fwhm_arcsec": 0.2}


def disk(pixel=0.25, side=(24.0, 24.0), reach=9.0, reff=4.0, **facts):
    """Planes and facts of an inclined disk, PA 60°, b/a 0.6, rotating at 200 km/s, in a field of `side` arcsec (x, y)."""
    nx, ny = (round(s / pixel) for s in side)
    y, x = np.indices((ny, nx))
    x, y = (x - (nx - 1) / 2) * pixel, (y - (ny - 1) / 2) * pixel
    axis = np.radians(60 + 90)
    along, across = x * np.cos(axis) + y * np.sin(axis), (y * np.cos(axis) - x * np.sin(axis)) / 0.6
    r = np.hypot(along, across)
    good = r < reach
    planes = {
        "flux": np.where(good, np.exp(-1.678 * r / reff) * pixel**2, np.nan),
        "velocity": np.where(good, 5000 + 200 * np.tanh(r / 2) * along / np.maximum(r, 1e-9) * 0.8, np.nan),
        "dispersion": np.where(good, 20.0, np.nan),
    }
    return planes, FACTS | {"pixel_scale_arcsec": pixel} | facts


def written(tmp_path, planes, facts):
    path = tmp_path / f"{facts['galaxy_id']}.fits.gz"
    write_plain(path, planes, facts)
    return path


def test_npz_and_fits_are_the_same_maps(tmp_path):
    planes, facts = disk()
    one = read_plain(written(tmp_path, planes, facts), Quality())
    np.savez(tmp_path / "NGC1.npz", **{k.upper(): v.astype(np.float32) for k, v in planes.items()}, **facts)
    two = read_plain(tmp_path / "NGC1.npz", Quality())
    for name in ("flux", "velocity", "dispersion", "flux_valid", "r_re", "counted"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.galaxy_id, one.physical_id, one.instrument, one.line, one.kinematics) == ("NGC1", "NGC1", "ALMA", "CO(2-1)", "gas")


def test_geometry_is_that_of_the_light(tmp_path):
    maps = read_plain(written(tmp_path, *disk(reach=11.9, reff=2.0)), Quality())
    # An exponential disk of R_e 2 arcsec, whose field holds all of its light.
    assert maps.reff_arcsec == pytest.approx(2.0, rel=0.02)
    assert maps.ba == pytest.approx(0.6, abs=0.01)
    assert maps.pa_deg == pytest.approx(60, abs=0.5)
    given = read_plain(written(tmp_path, *disk(ba=0.5, pa_deg=10.0, reff_arcsec=3.0)), Quality())
    assert (given.ba, given.pa_deg, given.reff_arcsec) == (0.5, 10.0, 3.0)


@pytest.mark.parametrize("times", [1.0, 30.0])
def test_verdict_depends_neither_on_sampling_nor_on_distance(tmp_path, times):
    """The same disk at two pixel scales, and thirty times as near: same slope per R_e, same points, same tier."""
    verdicts = []
    for pixel in (0.25, 0.5):
        planes, facts = disk(pixel)
        metrics = measure_quality(
            read_plain(written(tmp_path, planes, facts | {"pixel_scale_arcsec": pixel * times}), Quality()), Quality()
        )
        verdicts.append((metrics, score_lensability(metrics, Lensability())))
    (fine, score), (coarse, other) = verdicts
    assert fine["usable"]
    assert fine["vel_grad"] == pytest.approx(coarse["vel_grad"], rel=0.02)
    assert fine["vel_grad_per_arcsec"] == pytest.approx(10 * fine["vel_grad"] / fine["reff_arcsec"])
    assert fine["mask_fraction"] == pytest.approx(coarse["mask_fraction"], abs=0.02)
    assert (score["tier"], score["points"]) == (other["tier"], other["points"])


def test_manga_and_plain_agree_at_five_arcsec(tmp_path):
    """At R_e = 5 arcsec a tenth of R_e is a MaNGA spaxel, so that the published cut is the same cut."""
    metrics = measure_quality(read_plain(written(tmp_path, *disk(0.5, reff_arcsec=5.0)), Quality()), Quality())
    assert metrics["vel_grad_step_arcsec"] == 0.5


def test_empty_field_is_not_masked_but_holes_are(tmp_path):
    planes, facts = disk(side=(60.0, 60.0))
    assert np.isnan(planes["velocity"]).mean() > 0.9
    assert measure_quality(read_plain(written(tmp_path, planes, facts), Quality()), Quality())["mask_fraction"] < 0.06
    inside = np.isfinite(planes["velocity"])
    planes["mask"] = inside & (np.random.default_rng(1).random(inside.shape) < 0.5)
    found = measure_quality(read_plain(written(tmp_path, planes, facts), Quality()), Quality())["mask_fraction"]
    assert found == pytest.approx(0.5, abs=0.05)


def test_outline_of_too_few_spaxels_is_themselves():
    line = np.zeros((8, 8), bool)
    line[3, 2:6] = True
    np.testing.assert_array_equal(outline(line), line)


def test_flux_in_another_unit_is_judged_by_its_errors(tmp_path):
    planes, facts = disk()
    unknown = measure_quality(read_plain(written(tmp_path, planes, facts), Quality()), Quality())
    assert (unknown["low_flux"], unknown["flux_comparable"], unknown["flux_peak_snr"]) == (False, False, None)
    faint = measure_quality(
        read_plain(written(tmp_path, planes | {"flux_err": np.full_like(planes["flux"], np.nanmax(planes["flux"]) / 4)}, facts), Quality()),
        Quality(),
    )
    assert faint["low_flux"]
    assert "peak signal-to-noise 4 < 5" in faint["unusable_because"][0]
    score = score_lensability(unknown, Lensability())
    assert score["tier"] != "reject"
    assert "flux_max could not be compared: +0" in score["reasons"]


def test_oblong_maps_become_a_square_tensor(tmp_path):
    maps = read_plain(written(tmp_path, *disk(side=(26.0, 18.0))), Quality())
    assert maps.flux.shape == (72, 104)
    result = build_source_tensor(maps, {}, 64, Cosmology(), "")
    total = result.flux_per_arcsec2.sum(dtype=float) * result.facts["pixel_scale_arcsec"] ** 2
    assert total == pytest.approx(maps.flux.sum(), rel=1e-5)
    assert result.facts["centre_x_pix"] == pytest.approx(31.5, abs=0.1)
    assert result.facts["centre_y_pix"] == pytest.approx(31.5, abs=0.1)
    assert 64 * result.facts["pixel_scale_arcsec"] == pytest.approx(26.0)


def test_one_galaxy_without_a_tensor_does_not_stop_the_bank(tmp_path, caplog):
    pairs, metrics = [], []
    for name in ("NGC1", "NGC2"):
        planes, facts = disk(galaxy_id=name)
        if name == "NGC2":
            planes["velocity"] = np.where(np.isfinite(planes["velocity"]), 5000.0, np.nan)
        maps = read_plain(written(tmp_path, planes, facts), Quality())
        metrics.append(measure_quality(maps, Quality()))
        files = [tmp_path / f"{name}.{ending}" for ending in ("npz", "json")]
        try:
            write_source_tensor(build_source_tensor(maps, metrics[-1], 64, Cosmology(), ""), *files)
        except TensorError as error:
            assert "galaxies.set_aside" in str(error)
            write_left_out(maps, str(error), *files)
        pairs.append(files)
    bank = build_bank(pairs, lensability_table(metrics, Lensability()), Galaxies(listed=("NGC1", "NGC2"), use_rejected=("NGC1", "NGC2")))
    assert bank.num_rows == 1
    assert bank.to_pylist()[0] | {"instrument": "ALMA", "line": "CO(2-1)", "flux_unit": "Jy/beam km/s"} == bank.to_pylist()[0]
    assert "galaxy NGC2 is left out: its source tensor could not be made" in caplog.text
    assert "velocity does not vary" in json.loads((tmp_path / "NGC2.json").read_text())["left_out"]


@pytest.mark.parametrize("plane", ["flux", "velocity", "nothing is bright"])
def test_a_galaxy_without_a_usable_spaxel_is_rejected_and_the_bank_made_of_the_others(tmp_path, plane):
    pairs, metrics = [], []
    for name in ("NGC1", "NGC2"):
        planes, facts = disk(galaxy_id=name)
        if name == "NGC2":
            planes |= {"flux": -planes["flux"]} if plane == "nothing is bright" else {plane: np.full_like(planes["flux"], np.nan)}
        path = written(tmp_path, planes, facts)
        maps = read_plain(path, Quality())
        metrics.append(json.loads(json.dumps(measure_quality(maps, Quality()), allow_nan=False)))
        assert name in inspection_page(path, maps, metrics[-1])
        if name == "NGC1":
            pairs.append([tmp_path / f"{name}.{ending}" for ending in ("npz", "json")])
            write_source_tensor(build_source_tensor(maps, metrics[-1], 64, Cosmology(), ""), *pairs[-1])
    with pytest.raises(TensorError, match="galaxy NGC2: no spaxel has a positive flux and a velocity"):
        build_source_tensor(maps, metrics[-1], 64, Cosmology(), "")
    scores = lensability_table(metrics, Lensability())
    assert scores["tier"].tolist() == ["elite", "reject"] and "no spaxel has a positive flux" in scores["reasons"][1]
    assert build_bank(pairs, scores, Galaxies(listed=("NGC1", "NGC2")))["galaxy_id"].to_pylist() == ["NGC1"]
    with pytest.raises(BankError, match="no galaxy is left for the bank: the lensability score rejects all of them"):
        build_bank([], scores, Galaxies(listed=("NGC2",)))


def test_inspection_page_names_instrument_and_line(tmp_path):
    path = written(tmp_path, *disk())
    maps = read_plain(path, Quality())
    page = inspection_page(path, maps, measure_quality(maps, Quality()))
    assert "ALMA NGC1" in page
    assert "CO(2-1)" in page
    assert "MaNGA" not in page


def test_inspection_page_lists_tables(tmp_path):
    """The file of another member may hold a table of spaxels."""
    maps = read_plain(written(tmp_path, *disk()), Quality())
    path = tmp_path / "spaxels.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(np.array([(1.0,), (2.0,)], [("v", "f4")]), name="SPAXELS")]).writeto(path)
    page = inspection_page(path, maps, measure_quality(maps, Quality()))
    assert "SPAXELS" in page and ">2<" in "".join(page.split())


def test_pixel_scale_from_the_wcs_of_the_flux(tmp_path):
    planes, facts = disk()
    del facts["pixel_scale_arcsec"]
    path = written(tmp_path, planes, facts)
    with pytest.raises(PlainMapsError, match="card PIXSCALE"):
        read_plain(path, Quality())
    with fits.open(path) as hdus:
        cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 40.0, "CDELT1": -0.25 / 3600, "CDELT2": 0.25 / 3600}
        hdus["FLUX"].header.update(cards)
        hdus.writeto(tmp_path / "wcs.fits")
        hdus["FLUX"].header["CDELT1"] = 0.25 / 3600
        hdus.writeto(tmp_path / "mirrored.fits")
    assert read_plain(tmp_path / "wcs.fits", Quality()).pixel_scale_arcsec == pytest.approx(0.25)
    with pytest.raises(PlainMapsError, match="north up and east to the left"):
        read_plain(tmp_path / "mirrored.fits", Quality())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda planes, facts: planes.pop("velocity"), "arrays flux and velocity"),
        (lambda planes, facts: planes.update(velocity=planes["velocity"][1:]), "maps of one shape"),
        (lambda planes, facts: facts.pop("line"), "expected line \\(card LINE\\) as str, found nothing"),
        (lambda planes, facts: facts.update(z=-0.1), "z is -0.1, expected above 0"),
        (lambda planes, facts: facts.update(ba=1.4), "ba is 1.4, expected an axis ratio of 0.05 to 1"),
        (lambda planes, facts: facts.update(kinematics="hot"), "gas or stellar, found 'hot'"),
    ],
)
def test_what_is_missing_or_impossible_is_named(tmp_path, change, told):
    planes, facts = disk()
    change(planes, facts)
    with pytest.raises(PlainMapsError, match=told) as error:
        read_plain(written(tmp_path, planes, facts), Quality())
    assert "NGC1.fits.gz" in str(error.value)


def test_facts_that_are_bytes_are_text(tmp_path):
    planes, facts = disk()
    np.savez(tmp_path / "NGC1.npz", **planes, **{key: value.encode() if isinstance(value, str) else value for key, value in facts.items()})
    maps = read_plain(tmp_path / "NGC1.npz", Quality())
    assert (maps.galaxy_id, maps.line) == ("NGC1", "CO(2-1)")


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html><html></html>", b"PK\x03\x04broken", b"\x1f\x8bbroken", b"SIMPLE  =" + b" " * 100]
)
def test_damaged_files_are_named(tmp_path, content):
    path = tmp_path / "NGC1.fits"
    path.write_bytes(content)
    with pytest.raises(PlainMapsError, match=r"NGC1\.fits: expected"):
        read_plain(path, Quality())


def test_fetched_from_a_folder_whatever_its_format(tmp_path):
    planes, facts = disk()
    np.savez(tmp_path / "NGC1.npz", **planes, **facts)
    archive = Archive(base=f"file://{tmp_path}/", ifu="plain", catalogs=False)
    retrieve = retrieve_galaxy
    retrieve(archive, "NGC1", tmp_path / "out" / "NGC1.fits.gz", Downloads())
    first = (tmp_path / "out" / "NGC1.fits.gz").read_bytes()
    assert read_plain(tmp_path / "out" / "NGC1.fits.gz", Quality()).galaxy_id == "NGC1"
    retrieve(archive, "NGC1", tmp_path / "out" / "NGC1.fits.gz", Downloads())
    assert (tmp_path / "out" / "NGC1.fits.gz").read_bytes() == first
    with pytest.raises(PlainMapsError, match="expected a file NGC3 with the ending"):
        retrieve(archive, "NGC3", tmp_path / "out" / "NGC3.fits.gz", Downloads())
    (tmp_path / "NGC1.npz").rename(tmp_path / "NGC4.npz")
    with pytest.raises(PlainMapsError, match="says galaxy NGC1, expected NGC4"):
        retrieve(archive, "NGC4", tmp_path / "out" / "NGC4.fits.gz", Downloads())
    (tmp_path / "NGC4.fits").write_bytes(first)
    with pytest.raises(PlainMapsError, match=r"expected one file of the galaxy NGC4, found .*NGC4\.fits, .*NGC4\.npz; take one away"):
        retrieve(archive, "NGC4", tmp_path / "out" / "NGC4.fits.gz", Downloads())


def test_an_unknown_member_is_named():
    with pytest.raises(ValueError, match=r"no source of velocity maps 'sauron' \(there is: manga, plain\)"):
        read_galaxy("sauron", "x", Quality())


def test_table_of_the_score_takes_both(tmp_path):
    table = lensability_table([measure_quality(read_plain(written(tmp_path, *disk()), Quality()), Quality())], Lensability())
    assert isinstance(table, pd.DataFrame)
    assert table["tier"].tolist() == ["elite"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ifu": "plain", "galaxies": {"listed": ["NGC1"]}}, "ifu `plain` has no catalogues and no mock archive"),
        ({"galaxies": {"listed": ["NGC1"]}}, "named by plate-ifu such as 8593-12705, found NGC1"),
        ({"ifu": "plain", "catalogs": False, "galaxies": {"listed": ["../NGC1"]}}, "pattern"),
        ({"ifu": "sauron"}, "'manga' or 'plain'"),
    ],
)
def test_a_sample_says_what_its_files_are(settings, told):
    assert Sample(ifu="plain", catalogs=False, galaxies={"listed": ["NGC1", "NA"]}).galaxies.listed == ("NGC1", "NA")
    with pytest.raises(ValidationError, match=told):
        Sample.model_validate(settings)


def with_cards(tmp_path, planes, facts, cards):
    """The same maps with cards in the headers of their extensions."""
    path = written(tmp_path, planes, facts)
    with fits.open(path) as hdus:
        for name, more in cards.items():
            hdus[name].header.update(more)
        hdus.writeto(path, overwrite=True)
    return path


def sky(scale=0.25, **cards):
    side = scale / 3600
    return {"FLUX": {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 1.0, "CDELT1": -side, "CDELT2": side} | cards}


def test_a_prefix_of_a_unit_is_read_as_it_is_written(tmp_path):
    """Mm/s is a million times mm/s."""
    planes, facts = disk()
    fast = read_plain(
        with_cards(tmp_path, planes | {"velocity": planes["velocity"] / 1000}, facts, {"VELOCITY": {"BUNIT": "Mm/s"}}), Quality()
    )
    np.testing.assert_allclose(fast.velocity, read_plain(written(tmp_path, planes, facts), Quality()).velocity, rtol=1e-5)


@pytest.mark.parametrize("unit", ["m/s", "m s-1", "M/S"])
def test_velocities_in_other_units_of_speed_are_converted(tmp_path, unit):
    planes, facts = disk()
    planes["velocity_err"] = np.full_like(planes["flux"], 5.0)
    one = read_plain(written(tmp_path, planes, facts), Quality())
    speeds = {name: planes[name] * 1000 for name in ("velocity", "dispersion", "velocity_err")}
    two = read_plain(with_cards(tmp_path, planes | speeds, facts, {name.upper(): {"BUNIT": unit} for name in speeds}), Quality())
    for name in ("velocity", "velocity_ivar", "dispersion"):
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-5)
    with pytest.raises(PlainMapsError, match=r"BUNIT of VELOCITY is 'Angstrom', expected km/s or another unit of speed"):
        read_plain(with_cards(tmp_path, planes, facts, {"VELOCITY": {"BUNIT": "Angstrom"}}), Quality())


def test_velocities_of_no_galaxy_are_refused(tmp_path):
    planes, facts = disk()
    planes["velocity"] *= 1000
    with pytest.raises(PlainMapsError, match=r"NGC1.*expected a galaxy's, in km/s, within 3000 of their middle; convert them"):
        read_plain(written(tmp_path, planes, facts), Quality())
    # In bins, too: repeated velocities in m/s are no fillers.
    planes["velocity"] = np.round(planes["velocity"], -4)
    with pytest.raises(PlainMapsError, match="are they in m/s"):
        read_plain(written(tmp_path, planes, facts), Quality())


@pytest.mark.parametrize("systemic", [-5000.0, 0.0])
@pytest.mark.parametrize("field", [0.0, 1e-4])
def test_zeros_outside_of_the_galaxy_are_no_measurement(tmp_path, systemic, field):
    """As moment maps and masked arrays are often written: velocity 0, and flux 0 or noise."""
    planes, facts = disk()
    planes["velocity"] += systemic
    good = np.isfinite(planes["velocity"])
    one = read_plain(written(tmp_path, planes, facts), Quality())
    zeros = {name: np.where(good, plane, 0.0) for name, plane in planes.items()}
    zeros["flux"] = np.where(good, planes["flux"], field)
    two = read_plain(written(tmp_path, zeros, facts), Quality())
    np.testing.assert_array_equal(two.velocity_valid, one.velocity_valid)
    assert measure_quality(two, Quality())["vel_grad"] == pytest.approx(measure_quality(one, Quality())["vel_grad"], rel=1e-6)


@pytest.mark.parametrize("systemic", [-5000.0, 0.0])
@pytest.mark.parametrize("filler", [-999.0, -99.0, 999.0, -9999.0, 9999.0, -32768.0, 1e20, -1e30])
@pytest.mark.parametrize("of_all", [True, False])
def test_numbers_that_stand_for_no_measurement_are_masked_and_told(tmp_path, caplog, monkeypatch, systemic, filler, of_all):
    monkeypatch.setattr(logging.getLogger("darkhaloscope"), "propagate", True)
    planes, facts = disk()
    planes["velocity"] += systemic
    good = np.isfinite(planes["velocity"])
    one = read_plain(written(tmp_path, planes, facts), Quality())
    full = {name: np.where(good, plane, filler if of_all or name == "velocity" else 1e-5) for name, plane in planes.items()}
    path = written(tmp_path, full, facts)
    two = read_plain(path, Quality())
    np.testing.assert_array_equal(two.velocity_valid, one.velocity_valid)
    if of_all:
        np.testing.assert_array_equal(two.flux_valid, one.flux_valid)
        np.testing.assert_array_equal(two.dispersion_valid, one.dispersion_valid)
    said = f"{np.float32(filler):g} in {(~good).sum()} spaxels"
    assert f"NGC1.fits.gz: the velocity is exactly {said}, which is taken for no measurement" in caplog.text
    assert said in inspection_page(path, two, measure_quality(two, Quality()))


@pytest.mark.parametrize("filler", [-99.0, -999.0, -9999.0, 99999.0])
def test_what_stands_for_no_measurement_is_in_no_unit(tmp_path, filler):
    planes, facts = disk()
    good = np.isfinite(planes["velocity"])
    one = read_plain(written(tmp_path, planes, facts), Quality())
    metres = planes | {name: np.where(good, planes[name] * 1000, filler) for name in ("velocity", "dispersion")}
    metres["flux"] = np.where(good, planes["flux"], 1e-5)
    cards = {name: {"BUNIT": "m/s"} for name in ("VELOCITY", "DISPERSION")}
    two = read_plain(with_cards(tmp_path, metres, facts, cards), Quality())
    np.testing.assert_array_equal(two.velocity_valid, one.velocity_valid)
    np.testing.assert_array_equal(two.dispersion_valid, one.dispersion_valid)
    np.testing.assert_allclose(two.velocity[good], one.velocity[good], rtol=1e-5)


def test_fillers_of_whole_numbers_are_found_without_overflow():
    velocity = np.array([*range(-300, 300), *[-9999] * 3], np.int16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fillers(velocity, np.ones(len(velocity), bool)) == [-9999.0]


def test_two_fillers_are_both_found_and_a_lone_spike_is_none():
    velocity = np.append(np.linspace(4800, 5200, 50), [*[-999.0] * 90, *[1e20] * 10, 9000.0])
    assert sorted(fillers(velocity, np.ones(len(velocity), bool))) == [-999.0, 1e20]
    assert fillers(np.append(np.linspace(-300, 300, 50), [99.0, -99.0]), np.ones(52, bool)) == []


def test_few_zeros_among_velocities_are_velocities(tmp_path):
    """A disk about its own velocity has a line of them along the minor axis."""
    planes, facts = disk()
    planes["velocity"] -= 5000
    row = np.abs(planes["velocity"]) < 5
    planes["velocity"][row] = 0
    assert 0 < row.sum() < 0.1 * np.isfinite(planes["velocity"]).sum()
    assert read_plain(written(tmp_path, planes, facts), Quality()).velocity_valid[row].all()


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        (sky(CDELT1=0.25 / 3600), "expected square spaxels with north up and east to the left; turn the maps"),
        (sky(CROTA2=20.0), "expected square spaxels with north up"),
        (sky(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"), "has GLON-TAN, GLAT-TAN"),
        (sky(0.5), r"PIXSCALE is 0\.25 arcsec, expected 0\.5 as the WCS of FLUX has it"),
    ],
)
def test_a_wcs_is_held_against_the_pixel_scale_that_is_given(tmp_path, cards, words):
    with pytest.raises(PlainMapsError, match=words):
        read_plain(with_cards(tmp_path, *disk(), cards), Quality())
    assert read_plain(with_cards(tmp_path, *disk(), sky()), Quality()).pixel_scale_arcsec == 0.25


@pytest.mark.parametrize("cards", [sky(CTYPE1="XOFFSET", CTYPE2="YOFFSET", CUNIT1="arcsec", CUNIT2="arcsec"), sky(CTYPE2="DEC---TAN")])
def test_axes_that_are_no_sky_give_no_pixel_scale(tmp_path, cards):
    planes, facts = disk()
    assert read_plain(with_cards(tmp_path, planes, facts, cards), Quality()).pixel_scale_arcsec == 0.25
    with pytest.raises(PlainMapsError, match="expected pixel_scale_arcsec .card PIXSCALE. or a WCS of right ascension"):
        read_plain(with_cards(tmp_path, planes, facts | {"pixel_scale_arcsec": None}, cards), Quality())


def test_a_mask_the_wrong_way_round_is_told(tmp_path):
    planes, facts = disk()
    planes["mask"] = np.isfinite(planes["flux"])
    metrics = measure_quality(read_plain(written(tmp_path, planes, facts), Quality()), Quality())
    assert "turn MASK round if it is not 0 where the maps are good" in " ".join(metrics["unusable_because"])


def test_outline_is_that_of_all_spaxels_and_quick(monkeypatch):
    """By the first and last spaxel of each row: triangles of all of a large map take minutes and gigabytes."""
    spatial = pytest.importorskip("scipy.spatial")
    measured = np.random.default_rng(2).random((60, 80)) < 0.02
    y, x = np.nonzero(measured)
    rows, columns = np.indices(measured.shape)
    expected = spatial.Delaunay(np.column_stack([x, y])).find_simplex(np.column_stack([columns.ravel(), rows.ravel()])) >= 0
    triangles, points = spatial.Delaunay, []
    monkeypatch.setattr(spatial, "Delaunay", lambda given: points.append(len(given)) or triangles(given))
    np.testing.assert_array_equal(outline(measured), expected.reshape(measured.shape) | measured)
    outline(np.ones((60, 80), bool))
    assert max(points) <= 2 * 60


@pytest.mark.parametrize("unit", ["1E-17 erg/s/cm^2/spaxel", "10**-17 erg s-1 cm-2", "1e-20 erg/s/cm2", "erg/s/cm^2", "W/m2"])
def test_the_cut_on_flux_is_made_however_its_unit_is_written(tmp_path, unit):
    """The disk's peak, 0.23 in the unit of the cuts, is below the 5 that they ask for."""
    planes, facts = disk(flux_unit="1e-17 erg/s/cm^2")
    planes["flux_err"] = 0.001 * np.ones_like(planes["flux"])
    usual = measure_quality(read_plain(written(tmp_path, planes, facts), Quality()), Quality())
    factor = {"1e-20 erg/s/cm2": 1e3, "erg/s/cm^2": 1e-17, "W/m2": 1e-20}.get(unit, 1.0)
    scaled = planes | {name: planes[name] * factor for name in ("flux", "flux_err")}
    maps = read_plain(written(tmp_path, scaled, facts | {"flux_unit": unit}), Quality())
    other = measure_quality(maps, Quality())
    assert other["unusable_because"] == usual["unusable_because"] and "low flux: flux_max 0.231 < 5" in str(usual["unusable_because"])
    assert other["flux_max"] == pytest.approx(usual["flux_max"], rel=1e-5) and maps.flux_unit == "1e-17 erg/s/cm^2"
    assert other["flux_peak_snr"] == pytest.approx(usual["flux_peak_snr"], rel=1e-5)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"psf_fwhm_arcsec": 0.2 / 3600}, r"spaxels of 0\.25 arcsec and a resolution of 5\.556e-05 arcsec, .* both in arcsec"),
        ({"pixel_scale_arcsec": 0.25 / 3600}, r"spaxels of 6\.944e-05 arcsec and a resolution of 0\.2 arcsec"),
        ({"pixel_scale_arcsec": 250.0}, "spaxels of 250 arcsec"),
        ({"centre_x_pix": 187.7, "centre_y_pix": 12.4}, r"centre_x_pix is 187\.7, expected a spaxel of the maps, from 0 to 95"),
        ({"centre_x_pix": 40.0, "centre_y_pix": -3.0}, "centre_y_pix is -3, expected a spaxel"),
        ({"pa_deg": -999.0}, "pa_deg is -999, expected degrees from -360 to 360"),
        ({"z": True}, "expected z .card REDSHIFT. as float, found True"),
        ({"z": "0.0_1"}, "expected z .card REDSHIFT. as float, found .0.0_1"),
        ({"ba": 0.001}, r"ba is 0\.001, expected an axis ratio of 0\.05 to 1"),
        ({"z": 5100.0}, r"z is 5100, expected a galaxy's redshift, up to 15; correct it \(is it a velocity\?\)"),
    ],
)
def test_numbers_in_another_unit_are_no_facts(tmp_path, facts, told):
    planes, known = disk()
    np.savez(tmp_path / "NGC1.npz", **planes, **known | facts)
    with pytest.raises(PlainMapsError, match=told):
        read_plain(tmp_path / "NGC1.npz", Quality())


def test_a_dispersion_of_no_galaxy_is_refused(tmp_path):
    planes, facts = disk()
    with pytest.raises(PlainMapsError, match=r"the dispersion is 2e\+04 in the median, expected a galaxy's, .* \(is it in m/s\?\)"):
        read_plain(written(tmp_path, planes | {"dispersion": planes["dispersion"] * 1000}, facts), Quality())


def test_axes_of_one_are_no_axes(tmp_path):
    planes, facts = disk()
    usual = read_plain(written(tmp_path, planes, facts), Quality())
    deep = {name: plane[None, None] for name, plane in planes.items()}
    np.savez(tmp_path / "deep.npz", **deep, **facts)
    for path in (tmp_path / "deep.npz", written(tmp_path, deep, facts | {"galaxy_id": "NGC1"})):
        np.testing.assert_allclose(read_plain(path, Quality()).velocity, usual.velocity, rtol=1e-6)
    with pytest.raises(PlainMapsError, match="expected maps of one shape"):
        read_plain(written(tmp_path, {name: np.stack([plane, plane]) for name, plane in planes.items()}, facts), Quality())


def test_arrays_that_nobody_reads_are_named(tmp_path, caplog):
    planes, facts = disk()
    others = {"flux_ivar": planes["flux"], "badpix": np.isnan(planes["flux"]), "spectrum": np.ones(7)}
    np.savez(tmp_path / "NGC1.npz", **planes, **others, **facts)
    path = written(tmp_path, planes, facts)
    with fits.open(path) as hdus:
        extra = [fits.ImageHDU(planes["flux"], name="FLUX_IVAR"), fits.ImageHDU(np.ones((3, 3)), name="PSF")]
        fits.HDUList([*hdus, *extra]).writeto(tmp_path / "more.fits")
    read_plain(tmp_path / "NGC1.npz", Quality())
    read_plain(tmp_path / "more.fits", Quality())
    npz, fits_file = (m for m in caplog.messages if "passed over" in m)
    assert "flux_ivar, badpix passed over; maps are read from flux, velocity" in npz and "spectrum" not in npz
    assert "flux_ivar passed over" in fits_file and "psf" not in fits_file


def test_a_mask_that_takes_away_the_light_is_told(tmp_path, caplog):
    planes, facts = disk()
    good = np.isfinite(planes["flux"])
    noise = np.random.default_rng(3).normal(0, 1e-4, good.shape)
    field = {"flux": np.where(good, planes["flux"], noise), "velocity": np.where(good, planes["velocity"], 5000 + 1e5 * noise)}
    filled = np.where(good, planes["flux"], 99.0)
    for flux, mask, told in ((field["flux"], ~good, False), (field["flux"], good, True), (filled, ~good, False)):
        caplog.clear()
        read_plain(written(tmp_path, field | {"flux": flux, "mask": mask.astype(np.uint8)}, facts), Quality())
        assert ("turn it round if it is not 0 where the maps are good" in caplog.text) == told


def test_a_file_that_is_refused_is_named_by_its_address(tmp_path):
    planes, facts = disk()
    (tmp_path / "base").mkdir()
    np.savez(tmp_path / "base" / "NGC1.npz", **planes, **{key: value for key, value in facts.items() if key != "z"})
    base = (tmp_path / "base").as_uri() + "/"
    with pytest.raises(PlainMapsError) as error:
        retrieve_galaxy(Archive(ifu="plain", base=base), "NGC1", tmp_path / "out.fits.gz", Downloads())
    assert str(error.value).startswith(
        f"{base}NGC1.npz: expected z (card REDSHIFT) as float, found nothing; write it into the file; or leave"
    )
    assert "galaxies.set_aside" in str(error.value)
