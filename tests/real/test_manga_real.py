"""The MaNGA stages on a real MAPS file (DR15 layout), and on DR17 files where they are at hand."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Lensability, Quality
from darkhaloscope.ifu.inspection import inspection_page
from darkhaloscope.ifu.lensability import score_lensability
from darkhaloscope.ifu.manga.maps import LineNotFound, read_maps
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.ifu.tensors import build_source_tensor

DR15 = "sas/dr15/manga/spectro/analysis/v2_4_3/2.2.3dev/HYB10-GAU-MILESHC/7815/3702/manga-7815-3702-MAPS-HYB10-GAU-MILESHC.fits.gz"
DR17 = "sas/dr17/manga/spectro/analysis/v3_1_1/3.1.0/{daptype}/{plate}/{ifu}/manga-{plate}-{ifu}-MAPS-{daptype}.fits.gz"
DAPTYPE = "HYB10-MILESHC-MASTARSSP"
#: Tiers of ten DR17 galaxies found by an earlier version on the [NII] channel; the tiers should hold on Hα.
PUBLISHED_TIERS = {
    **dict.fromkeys(("8593-12705", "8993-12705", "11982-9102", "10500-12703", "11013-6101"), "elite"),
    **dict.fromkeys(("8652-12703", "9487-9102"), "good"),
    **dict.fromkeys(("7443-12703", "12685-9101", "12071-12702"), "reject"),
}


def needed(real: Path, name: str) -> Path:
    """Return a file below the real data, or skip with its name."""
    path = real / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture
def path(real) -> Path:
    return needed(real, DR15)


def test_line_and_spaxels(path):
    maps = read_maps(path, Quality())
    assert maps.layout == "DR15"
    assert maps.channels["Ha-6564"] == 18
    assert len(maps.channels) == 22
    assert maps.flux_valid.sum() == 769
    assert maps.flux[maps.flux_valid].sum() == pytest.approx(9297, abs=0.5)
    assert maps.pixel_scale_arcsec == 0.5


def test_header(path):
    header = read_maps(path, Quality()).header
    assert (header["plateifu"], header["mangaid"]) == ("7815-3702", "1-113540")
    assert header["z"] == pytest.approx(0.0293823, abs=1e-7)
    assert header["ba"] == pytest.approx(1 - 0.110844, abs=1e-6)


def test_instrument_dominates_the_dispersion(path):
    maps = read_maps(path, Quality())
    with fits.open(path) as hdus:
        sigma, instrument = (hdus[name].data[18][maps.flux_valid] for name in ("EMLINE_GSIGMA", "EMLINE_INSTSIGMA"))
    assert (round(float(np.median(sigma))), round(float(np.median(instrument)))) == (87, 75)
    resolved = sigma > instrument
    np.testing.assert_allclose(maps.dispersion[maps.flux_valid][resolved] ** 2, (sigma**2 - instrument**2)[resolved], rtol=1e-4)
    assert (maps.dispersion[maps.flux_valid][~resolved] == 0).all()


def test_gas_velocity_is_the_same_for_all_lines(path):
    alpha, nitrogen = (read_maps(path, Quality(line=line)) for line in ("Ha-6564", "NII-6585"))
    both = alpha.velocity_valid & nitrogen.velocity_valid
    np.testing.assert_array_equal(alpha.velocity[both], nitrogen.velocity[both])
    assert not np.array_equal(alpha.flux, nitrogen.flux)


def test_unknown_line_lists_the_known_ones(path):
    with pytest.raises(LineNotFound, match=r"it has: OII-3727, .*Ha-6564, NII-6585, SII-6718, SII-6732\)"):
        read_maps(path, Quality(line="Ha-6565"))


def test_quality_and_score(path):
    maps = read_maps(path, Quality())
    metrics = measure_quality(maps, Quality())
    assert metrics["n_valid_spaxels"] == 769
    assert metrics["total_spaxels"] == 42 * 42
    assert metrics["frac_valid_in_1p5re"] == 1
    assert metrics["usable"]
    # numpy's own Pearson r and least squares on the file's planes.
    good = maps.flux_valid & maps.velocity_valid
    assert metrics["flux_vel_corr"] == pytest.approx(np.corrcoef(maps.flux[good], maps.velocity[good])[0, 1], abs=1e-9)
    y, x = np.nonzero(maps.velocity_valid)
    plane = np.linalg.lstsq(np.column_stack([x, y, np.ones(len(x))]), maps.velocity[maps.velocity_valid], rcond=None)[0]
    assert metrics["vel_grad"] == pytest.approx(np.hypot(*plane[:2]), rel=1e-9)
    assert score_lensability(metrics, Lensability())["tier"] == "good"


def test_tensor_conserves_the_flux(path):
    maps = read_maps(path, Quality())
    result = build_source_tensor(maps, measure_quality(maps, Quality()), 64, Cosmology(), "0" * 64)
    side = result.facts
    assert result.flux_per_arcsec2.sum(dtype=float) * side["pixel_scale_arcsec"] ** 2 == pytest.approx(9297.14, rel=1e-5)
    # The factor that makes it exact; bilinear interpolation alone is this good.
    assert side["flux_factor"] == pytest.approx(1, abs=0.002)
    assert side["pixel_scale_arcsec"] == 21 / 64
    # No spaxel reaches beyond these, so no interpolated pixel may; zeros from outside would lower the edges.
    assert result.velocity[result.valid].min() >= maps.velocity[maps.velocity_valid].min() - 1e-3
    assert result.velocity[result.valid].max() <= maps.velocity[maps.velocity_valid].max() + 1e-3
    assert result.flux_per_arcsec2[result.valid].min() >= side["flux_factor"] * 4 * maps.flux[maps.flux_valid].min() - 1e-6


def test_inspection_page_has_all_extensions(path):
    maps = read_maps(path, Quality())
    page = inspection_page(path, maps, measure_quality(maps, Quality()))
    with fits.open(path) as hdus:
        assert len(hdus) == 48
        for hdu in hdus:
            assert f'<td class="c">{hdu.name}</td>' in page
    assert "18 Ha-6564" in page


@pytest.mark.parametrize("plateifu", ["8485-1901", "7443-12701"])
def test_dr17_values_published_with_marvin(real, plateifu):
    """Hα flux, inverse variance and mask of one spaxel, and header values, as Marvin's own tests expect them."""
    expected = yaml.safe_load(needed(real, "manga/marvin-galaxy_test_data.yaml").read_text())[plateifu]
    plate, ifu = plateifu.split("-")
    path = needed(real, DR17.format(daptype=DAPTYPE, plate=plate, ifu=ifu))
    maps = read_maps(path, Quality())
    assert maps.layout == "DR17"
    assert maps.channels["Ha-6564"] == 23
    assert len(maps.channels) == 35
    assert list(maps.flux.shape) == expected["shape"]
    assert maps.header["mangaid"] == expected["mangaid"]
    assert maps.header["z"] == pytest.approx(expected["redshift"], abs=1e-5)
    assert maps.header["ba"] == pytest.approx(expected["nsa_data"]["nsa"]["elpetro_ba"], abs=1e-4)
    dap = expected["releasedata"]["DR17"]["dap"]
    line = dap["MILESHC-MASTARSSP"]["emline_gflux_ha_6564"]
    y, x = dap["y"], dap["x"]
    assert line["mask"] == 0
    assert maps.flux_valid[y, x]
    assert maps.flux[y, x] == pytest.approx(line["value"], rel=1e-5)
    assert maps.flux_ivar[y, x] == pytest.approx(line["ivar"], rel=1e-5)
    with fits.open(path) as hdus:
        assert hdus["STELLAR_SIGMA"].data[y, x] == pytest.approx(dap["stellar_sigma"]["HYB10"], rel=1e-4)
        assert hdus["STELLAR_SIGMACORR"].data[0, y, x] == pytest.approx(dap["stellar_sigmacorr"]["HYB10"], rel=1e-4)


@pytest.mark.parametrize("plateifu", PUBLISHED_TIERS)
def test_published_tiers(real, plateifu):
    plate, ifu = re.fullmatch(r"(\d+)-(\d+)", plateifu).groups()
    path = needed(real, DR17.format(daptype=DAPTYPE, plate=plate, ifu=ifu))
    metrics = measure_quality(read_maps(path, Quality()), Quality())
    assert score_lensability(metrics, Lensability())["tier"] == PUBLISHED_TIERS[plateifu]
