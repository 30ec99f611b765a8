"""The MAPS reader: channels by name, masks, both layouts, and one clear error for each broken file."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.archive.checks import BadFits, check_fits
from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.manga.maps import (
    LineNotFound,
    MapsError,
    MissingCard,
    MissingExtension,
    NotFinite,
    UnreadableMaps,
    WrongChannels,
    WrongUnit,
    is_critical,
    mask_bit_counts,
    read_maps,
)
from darkhaloscope.ifu.manga.retrieve import MAPS_EXTENSIONS


@pytest.mark.parametrize(("layout", "index"), [("DR17", 23), ("DR15", 18)])
def test_line_is_found_by_name_in_both_layouts(make_maps, layout, index):
    maps = make_maps(layout=layout)
    assert maps.layout == layout
    assert maps.channels["Ha-6564"] == index
    # Every other channel holds 1000 or more.
    assert 0 < maps.flux.max() < 101
    assert maps.azimuth[16, 33] == pytest.approx(np.degrees(np.arctan2(-0.5, 16.5)) % 360, abs=1e-4)


def test_index_24_would_be_nitrogen(make_maps):
    names = {index: name for name, index in make_maps().channels.items()}
    assert names[23] == "Ha-6564"
    assert names[24] == "NII-6585"


def test_another_line_can_be_read(make_maps):
    maps = make_maps(quality=Quality(line="NII-6585"), line="NII-6585")
    assert maps.flux.max() < 101


def test_masked_spaxels_are_not_measurements(make_maps):
    mask = np.zeros((34, 34), int)
    mask[3, 4], mask[5, 6] = 1 << 30, 1 << 5  # DONOTUSE, and UNRELIABLE alone
    ivar = np.full((34, 34), 2.0)
    ivar[7, 8] = 0
    flux = np.full((34, 34), 10.0)
    flux[5, 6] = 1e17
    maps = make_maps(good=np.ones((34, 34), bool), mask=mask, ivar=ivar, flux=flux)
    assert set(zip(*np.nonzero(~maps.flux_valid), strict=True)) == {(3, 4), (5, 6), (7, 8)}
    assert maps.flux.max() == 10
    assert maps.flux[~maps.flux_valid].tolist() == [0, 0, 0]


@pytest.mark.parametrize("velocity", ["gas", "stellar"])
def test_units_that_extensions_say_are_converted(maps_hdus, tmp_path, velocity):
    def with_units(name, speed, flux, factor, per_flux):
        hdus = maps_hdus("DR17")
        for hdu in hdus[1:]:
            kind = hdu.name.removesuffix("_IVAR")
            scale, unit = (factor, speed) if kind in SPEEDS else (per_flux, flux) if kind == "EMLINE_GFLUX" else (1, None)
            hdu.data = (hdu.data / scale**2 if hdu.name.endswith("_IVAR") else hdu.data * scale).astype(hdu.data.dtype)
            if unit and kind == hdu.name:
                hdu.header["BUNIT"] = unit
        hdus.writeto(tmp_path / name)
        return read_maps(tmp_path / name, Quality(velocity=velocity))

    plain = with_units("none.fits", None, None, 1, 1)
    usual = with_units("usual.fits", "km/s", "1E-17 erg/s/cm^2/spaxel", 1, 1)
    other = with_units("other.fits", "m/s", "1E-15 erg/s/cm^2/spaxel", 1000, 0.01)
    for name in ("flux", "flux_ivar", "velocity", "velocity_ivar", "dispersion"):
        np.testing.assert_array_equal(getattr(usual, name), getattr(plain, name))
        np.testing.assert_allclose(getattr(other, name), getattr(plain, name), rtol=1e-6, atol=1e-3 if name == "dispersion" else 0)


SPEEDS = ("EMLINE_GVEL", "EMLINE_GSIGMA", "EMLINE_INSTSIGMA", "STELLAR_VEL", "STELLAR_SIGMA", "STELLAR_SIGMACORR")


@pytest.mark.parametrize(
    ("name", "unit"), [("EMLINE_GVEL", "Angstrom"), ("EMLINE_GSIGMA", "pixel"), ("EMLINE_GFLUX", "1E-17 erg/s/cm^2/Ang")]
)
def test_units_of_another_quantity_are_refused(maps_hdus, tmp_path, name, unit):
    def change(hdus):
        hdus[name].header["BUNIT"] = unit

    with pytest.raises(WrongUnit, match=rf"BUNIT of {name} is '.*', expected .* or what can be converted to it; fetch the file again"):
        read_maps(broken(maps_hdus, tmp_path / "m.fits", change), Quality())


def test_masked_nan_becomes_zero(maps_hdus, tmp_path):
    hdus = maps_hdus()
    hdus["EMLINE_GFLUX"].data[23, 0, 0] = np.nan
    hdus["EMLINE_GFLUX_IVAR"].data[23, 0, 0] = np.nan
    hdus.writeto(tmp_path / "maps.fits")
    maps = read_maps(tmp_path / "maps.fits", Quality())
    assert not maps.flux_valid[0, 0]
    assert maps.flux[0, 0] == 0


def test_instrument_is_taken_out_in_quadrature(make_maps):
    maps = make_maps()
    np.testing.assert_allclose(maps.dispersion[maps.dispersion_valid], 48.0)  # 80² − 64²


def test_unresolved_line_has_no_dispersion_but_is_valid(make_maps):
    maps = make_maps(sigma=np.full((34, 34), 60.0))
    assert maps.dispersion_valid.any()
    assert (maps.dispersion == 0).all()


@pytest.mark.parametrize("layout", ["DR17", "DR15"])
def test_stellar_kinematics(make_maps, layout):
    gas = make_maps(layout=layout)
    stars = make_maps(layout=layout, quality=Quality(velocity="stellar"))
    np.testing.assert_allclose(stars.velocity, 0.5 * gas.velocity, atol=1e-4)
    np.testing.assert_allclose(stars.dispersion[stars.dispersion_valid], 64.0)  # 80² − 48², the first channel of DR17
    assert stars.kinematics == "stellar"


def test_header(make_maps):
    header = make_maps().header
    assert header["z"] == pytest.approx(0.03, abs=1e-9)  # 8993.77374 / 299792.458
    assert header["ba"] == pytest.approx(0.6)
    assert header["plateifu"] == "99999-1901"
    assert (header["pa_deg"], header["reff_arcsec"], header["rfwhm_arcsec"]) == (90.0, 4.0, 2.6)


def test_pixel_scale_comes_from_the_wcs(maps_hdus, tmp_path, make_maps):
    assert make_maps().pixel_scale_arcsec == 0.5
    hdus = maps_hdus()
    hdus["EMLINE_GFLUX"].header["PC1_1"] = -1 / 3600
    hdus.writeto(tmp_path / "other.fits")
    assert read_maps(tmp_path / "other.fits", Quality()).pixel_scale_arcsec == 1.0


def test_critical_quality_is_bit_30():
    assert is_critical(1 << 30 | 5)
    assert not is_critical((1 << 30) - 1)


def test_mask_bits_by_name():
    assert mask_bit_counts(np.array([[0, 1 << 30 | 1], [1 << 5, 1 << 13]])) == {"NOCOV": 1, "UNRELIABLE": 1, "bit 13": 1, "DONOTUSE": 1}


def test_galaxy_without_a_good_spaxel_is_read(make_maps):
    maps = make_maps(good=np.zeros((34, 34), bool))
    assert not maps.flux_valid.any()


def broken(maps_hdus, path, change):
    hdus = maps_hdus()
    hdus = change(hdus) or hdus
    hdus.writeto(path)
    return path


def without(name):
    return lambda hdus: fits.HDUList([h for h in hdus if h.name != name])


def test_missing_extension(maps_hdus, tmp_path):
    path = broken(maps_hdus, tmp_path / "m.fits", without("EMLINE_GVEL_MASK"))
    with pytest.raises(MissingExtension, match=r"m\.fits: expected the extension EMLINE_GVEL_MASK, found .*EMLINE_GVEL_IVAR"):
        read_maps(path, Quality())


def test_unknown_line_lists_the_known_ones(maps_hdus, tmp_path):
    path = broken(maps_hdus, tmp_path / "m.fits", lambda hdus: None)
    with pytest.raises(LineNotFound, match=r"no emission line 'Halpha' in EMLINE_GFLUX \(it has: OII-3727, .*Ha-6564.*Peps-9548\)"):
        read_maps(path, Quality(line="Halpha"))


def test_names_and_channels_that_do_not_match(maps_hdus, tmp_path):
    def fewer(hdus):
        hdus["EMLINE_GFLUX"].data = hdus["EMLINE_GFLUX"].data[:22]

    with pytest.raises(WrongChannels, match="22 channels but its header names 35"):
        read_maps(broken(maps_hdus, tmp_path / "m.fits", fewer), Quality())


def test_unknown_layout(maps_hdus, tmp_path):
    def extra(hdus):
        hdu = hdus["SPX_ELLCOO"]
        hdu.data = np.concatenate([hdu.data, hdu.data[:1]])
        hdu.header["C5"] = "something new"

    with pytest.raises(WrongChannels, match=r"SPX_ELLCOO has 5 channels .*expected 3 \(DR15\) or 4 \(DR17\)"):
        read_maps(broken(maps_hdus, tmp_path / "m.fits", extra), Quality())


def test_maps_of_different_sizes(maps_hdus, tmp_path):
    def smaller(hdus):
        hdus["SPX_SNR"].data = hdus["SPX_SNR"].data[:-2, :-2]

    with pytest.raises(WrongChannels, match=r"the snr map has \(32, 32\) spaxels, expected \(34, 34\)"):
        read_maps(broken(maps_hdus, tmp_path / "m.fits", smaller), Quality())


@pytest.mark.parametrize("name", ["EMLINE_GFLUX", "EMLINE_GVEL", "EMLINE_GFLUX_IVAR"])
def test_nan_in_a_good_spaxel(maps_hdus, tmp_path, name):
    def spoil(hdus):
        hdus[name].data[23, 17, 16:18] = np.nan

    with pytest.raises(NotFinite, match=r"m\.fits: 2 spaxels of EMLINE_G.* are NaN or infinite although"):
        read_maps(broken(maps_hdus, tmp_path / "m.fits", spoil), Quality())


@pytest.mark.parametrize(("card", "value"), [("SCINPVEL", None), ("ECOOELL", 1.5), ("REFF", -9999.0), ("MANGAID", "")])
def test_missing_or_impossible_card(maps_hdus, tmp_path, card, value):
    def change(hdus):
        del hdus[0].header[card]
        if value is not None:
            hdus[0].header[card] = value

    with pytest.raises(MissingCard, match=f"card {card} of the primary header"):
        read_maps(broken(maps_hdus, tmp_path / "m.fits", change), Quality())


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("zipped", [True, False])
def test_truncated_file(maps_hdus, tmp_path, share, zipped):
    path = tmp_path / ("m.fits.gz" if zipped else "m.fits")
    rng = np.random.default_rng(1)
    # Noise, so that the compressed file is cut inside the data and not in a run of zeros.
    maps_hdus(flux=rng.uniform(1, 100, (34, 34)), velocity=rng.normal(size=(34, 34))).writeto(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UnreadableMaps, match=r"m\.fits.*fetch it again"):
        read_maps(path, Quality())


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>", gzip.compress(b"<html></html>", mtime=0)])
def test_not_a_fits_file(tmp_path, content):
    path = tmp_path / "m.fits.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableMaps, match="expected a whole MAPS file"):
        read_maps(path, Quality())


def test_absent_file(tmp_path):
    with pytest.raises(UnreadableMaps, match="does not exist"):
        read_maps(tmp_path / "absent.fits.gz", Quality())


def test_all_errors_are_maps_errors():
    for error in (UnreadableMaps, MissingExtension, MissingCard, LineNotFound, WrongChannels, NotFinite):
        assert issubclass(error, MapsError)


def test_zeros_behind_the_last_hdu_are_no_damage(maps_hdus, tmp_path):
    """Tapes and disks fill up their last record; FITS readers pass over it."""
    path = tmp_path / "m.fits"
    maps_hdus().writeto(path)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(3 * 2880))
    assert read_maps(path, Quality()).flux_valid.any()
    assert check_fits(path)[0] == "PRIMARY"
    (tmp_path / "m.fits.gz").write_bytes(gzip.compress(whole + bytes(2880)))
    assert read_maps(tmp_path / "m.fits.gz", Quality()).flux_valid.any()
    # Zeros in place of the last extension's data are its data, but zeros with more behind them are damage.
    path.write_bytes(whole + bytes(2880) + whole[:2880])
    with pytest.raises(BadFits, match=r"m\.fits is not a whole FITS file"):
        check_fits(path)


@pytest.mark.parametrize("card", [b"OBSERVER= 'Jos\xe9    '           / who", b"COMMENT  position angle in \xb0"])
def test_a_letter_that_is_not_ascii_in_a_comment_is_no_damage(maps_hdus, tmp_path, card):
    path = tmp_path / "m.fits"
    hdus = maps_hdus()
    hdus[0].header["OBSERVER"] = "PLACE"
    hdus.writeto(path)
    whole = path.read_bytes()
    at = whole.index(b"OBSERVER")
    path.write_bytes(whole[:at] + card.ljust(80) + whole[at + 80 :])
    assert check_fits(path)[0] == "PRIMARY"
    assert read_maps(path, Quality()).flux_valid.any()


def test_stellar_maps_are_asked_for_only_where_they_are_used(maps_hdus, tmp_path):
    hdus = fits.HDUList([h for h in maps_hdus() if not h.name.startswith("STELLAR")])
    hdus.writeto(tmp_path / "m.fits")
    assert read_maps(tmp_path / "m.fits", Quality()).flux_valid.any()
    check_fits(tmp_path / "m.fits", MAPS_EXTENSIONS)
    with pytest.raises(MissingExtension, match="STELLAR_VEL"):
        read_maps(tmp_path / "m.fits", Quality(velocity="stellar"))
