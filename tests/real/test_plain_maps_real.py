"""Real velocity maps of other instruments through quality, tensor, bank and the source that stamps lens."""

import warnings

import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.manga import Galaxies, Lensability, Quality
from darkhaloscope.ifu.bank import build_bank, read_bank, write_bank
from darkhaloscope.ifu.lensability import lensability_table
from darkhaloscope.ifu.plain.file import write_plain
from darkhaloscope.ifu.plain.maps import read_plain
from darkhaloscope.ifu.quality import measure_quality
from darkhaloscope.ifu.tensors import build_source_tensor, write_source_tensor
from darkhaloscope.sources.manga import manga_source

#: Folder, galaxy, redshift and a round beam [arcsec] of two ALMA disks; side of a pixel as the headers say [arcsec].
ALMA = [("alma_ngc383", "NGC0383", 0.017, 0.18, 0.1), ("alma_ngc3557", "NGC3557", 0.0103, 0.5, 0.05)]


def needed(real, name):
    path = real / "ifu" / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


def alma_maps(real, tmp_path, folder, galaxy, z, beam):
    flux, velocity, dispersion = (fits.getdata(needed(real, f"{folder}/mom{i}.fits")).astype(float) for i in range(3))
    header = fits.getheader(needed(real, f"{folder}/mom0.fits"))
    planes = {"flux": np.where(flux == 0, np.nan, flux), "velocity": velocity, "dispersion": dispersion}
    facts = {"galaxy_id": galaxy, "instrument": "ALMA", "line": "CO(2-1)", "flux_unit": header["BUNIT"], "z": z, "psf_fwhm_arcsec": beam}
    facts["pixel_scale_arcsec"] = header["CDELT2"] * 3600
    write_plain(tmp_path / f"{galaxy}.fits.gz", planes, facts)
    return read_plain(tmp_path / f"{galaxy}.fits.gz", Quality())


@pytest.mark.parametrize(("folder", "galaxy", "z", "beam", "pixel"), ALMA)
def test_alma_disk_passes_from_maps_to_source(real, tmp_path, folder, galaxy, z, beam, pixel):
    maps = alma_maps(real, tmp_path, folder, galaxy, z, beam)
    metrics = measure_quality(maps, Quality())
    # 80 to 90% of the square is empty field; of the disk's own outline little is missing.
    assert (~maps.velocity_valid).mean() > 0.8
    assert metrics["mask_fraction"] < 0.25
    assert metrics["usable"], metrics["unusable_because"]
    assert metrics["total_spaxels"] == maps.flux.size
    assert maps.pixel_scale_arcsec == pytest.approx(pixel, rel=1e-6)
    table = lensability_table([metrics], Lensability())
    assert table["tier"].item() != "reject", table["reasons"].item()
    files = [tmp_path / f"{galaxy}.{ending}" for ending in ("npz", "json")]
    result = build_source_tensor(maps, metrics, 64, Cosmology(), "")
    write_source_tensor(result, *files)
    write_bank(tmp_path / "bank.parquet", build_bank([files], table, Galaxies(listed=(galaxy,))))
    bank = read_bank(tmp_path / "bank.parquet")
    row = bank.to_pylist()[0]
    # A rotating disk: half of the spread of velocities in the moment map, about its middle.
    low, high = np.nanpercentile(fits.getdata(needed(real, f"{folder}/mom1.fits")), [2.5, 97.5])
    assert row["v_peak_los_kms"] == pytest.approx((high - low) / 2, rel=0.02)
    assert low < row["v_systemic_kms"] < high
    source = manga_source(bank, galaxy, 1.0, 1.0, Cosmology())
    assert source.flux.sum() > 0
    assert np.abs(source.velocity[source.valid]).max() > 150


def ngc2906(tmp_path, velocity, pixel, centre, name):
    """A file of a velocity map that has no flux, with an exponential disk of R_e 15 arcsec and its published geometry as light."""
    axis = np.radians(77 + 90)
    y, x = np.indices(velocity.shape)
    x, y = (x - centre[0]) * pixel, (y - centre[1]) * pixel
    across = (y * np.cos(axis) - x * np.sin(axis)) / np.cos(np.radians(55))
    radius = np.hypot(x * np.cos(axis) + y * np.sin(axis), across)
    flux = np.where(np.isfinite(velocity), 400 * np.exp(-1.678 * radius / 15) * pixel**2, np.nan)
    facts = {"galaxy_id": "NGC2906", "instrument": name, "line": "Ha-6564", "z": 0.00715, "psf_fwhm_arcsec": 2.5}
    facts |= {"pixel_scale_arcsec": pixel, "reff_arcsec": 15.0, "ba": float(np.cos(np.radians(55))), "pa_deg": 77.0}
    facts |= {"centre_x_pix": centre[0], "centre_y_pix": centre[1]}
    write_plain(tmp_path / f"{name}.fits.gz", {"flux": flux, "velocity": velocity}, facts)
    return read_plain(tmp_path / f"{name}.fits.gz", Quality())


def test_ngc2906_at_two_pixel_scales_has_one_verdict(real, tmp_path):
    coarse, fine = (fits.getdata(needed(real, f"xookssut_velmap{i}_example.fits.gz")).astype(float) for i in (0, 1))
    coarse, fine = (np.where(v == 0, np.nan, v) for v in (coarse, fine))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # blocks of empty field have no mean
        binned = np.nanmean(fine.reshape(60, 2, 60, 2), axis=(1, 3))
    maps = {
        "1 arcsec": ngc2906(tmp_path, coarse, 1.0, (39.5, 35.2), "one"),
        "0.5 arcsec": ngc2906(tmp_path, fine, 0.5, (60.5, 59.2), "half"),
        "0.5 arcsec, binned": ngc2906(tmp_path, binned, 1.0, (30.0, 29.35), "binned"),
    }
    metrics = {name: measure_quality(m, Quality()) for name, m in maps.items()}
    table = lensability_table([m | {"galaxy_id": name} for name, m in metrics.items()], Lensability())
    # Per spaxel, as the cuts were once made, one file would pass (4.0 km/s) and the other be rejected (1.8 km/s).
    per_spaxel = {name: metrics[name]["vel_grad_per_arcsec"] * m.pixel_scale_arcsec for name, m in maps.items()}
    assert per_spaxel["1 arcsec"] == pytest.approx(4.0, abs=0.1)
    assert per_spaxel["0.5 arcsec"] == pytest.approx(1.8, abs=0.1)
    assert {m["usable"] for m in metrics.values()} == {True}, {n: m["unusable_because"] for n, m in metrics.items()}
    assert metrics["0.5 arcsec"]["vel_grad"] == pytest.approx(metrics["0.5 arcsec, binned"]["vel_grad"], rel=0.02)
    assert table["tier"].nunique() == 1, table[["tier", "reasons"]].to_string()
    assert table["tier"].iloc[0] != "reject", table["reasons"].iloc[0]
