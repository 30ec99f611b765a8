"""Stamps with injected arcs: null injections, conservation of flux, lenstronomy, same bits, measures."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from pydantic import ValidationError
from scipy.signal import fftconvolve

from darkhaloscope.config.lensfinder import Camera, LensFinderDataset
from darkhaloscope.core.tables import images
from darkhaloscope.lensing.observe import moffat_from_psfsize
from darkhaloscope.sources.sersic import sersic_image
from darkhaloscope.sources.still import StillImage
from darkhaloscope.stamps.manifest import read_rows, write_manifest
from darkhaloscope.stamps.measures import arc_signal_to_noise
from darkhaloscope.tasks.lensfinder import inputs
from darkhaloscope.tasks.lensfinder.hosts import read_parent
from darkhaloscope.tasks.lensfinder.inject import InjectionError, inject_rows, source_fluxes
from darkhaloscope.tasks.lensfinder.light import psf_fwhm, psf_kernels
from darkhaloscope.tasks.lensfinder.manifest import draw_manifest
from darkhaloscope.tasks.lensfinder.schema import MANIFEST
from sky import cutout, refused, write_parent


def dataset(**values) -> LensFinderDataset:
    base = {"injection": "gen5", "sources": {"mix": {"sersic": 1.0}}, "size": {"train": 40, "validation": 0, "test": 0}, "shard_size": 20}
    return LensFinderDataset.model_validate({**base, "splits": {"tolerance": 0.3}, **values})


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    parent = read_parent(write_parent(folder / "parent.parquet", 3000))
    write_manifest(folder / "manifest.parquet", MANIFEST, draw_manifest("x", dataset(), parent, {}))
    return read_rows(folder / "manifest.parquet", MANIFEST, "train", 0, 20)


@pytest.fixture(scope="module")
def cutouts(rows):
    return [cutout(i) for i in range(rows.num_rows)]


@pytest.fixture(scope="module")
def stamps(rows, cutouts):
    return inject_rows(rows, dataset(), cutouts, {})


def with_columns(rows, **values):
    """Return rows with some columns of the positives set to one value."""
    columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
    for name, value in values.items():
        columns[name] = [old if control else value for old, control in zip(columns[name], columns["is_control"], strict=True)]
    return MANIFEST.table(columns)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint32)


def test_null_injections_reproduce_the_cutout_to_the_bit(rows, cutouts):
    """The whole path, with sources of 200 magnitudes; minus zero, which any addition would lose, included."""
    signed = [replace(c, image=np.where(c.image > 0.5, np.float32(-0.0), c.image)) for c in cutouts]
    made = inject_rows(with_columns(rows, src_dmag=200.0), dataset(), signed, {})
    np.testing.assert_array_equal(bits(images(made, "image")), bits(np.stack([c.image for c in signed])))
    # Ten magnitudes less, with noise switched off, and something is there.
    assert (images(inject_rows(rows, dataset(), cutouts, {}), "image") != np.stack([c.image for c in cutouts])).any()


def test_controls_are_their_cutouts(stamps, cutouts):
    control = stamps["is_control"].to_numpy(zero_copy_only=False)
    np.testing.assert_array_equal(bits(images(stamps, "image")[control]), bits(np.stack([c.image for c in cutouts])[control]))
    assert stamps["arc_snr"].to_numpy()[control].max() == 0 and stamps["magnification"].filter(control).null_count == control.sum()


def test_flux_closes(rows, stamps, cutouts):
    positive = stamps["label"].to_numpy() == 1
    assert stamps["flux_closure"].drop_null().to_numpy().max() < 1e-3
    # Without Poisson noise, what the stamp gained is the flux of the magnitude times the magnification, less the PSF's wings beyond the stamp.
    quiet = inject_rows(rows, dataset(camera={"poisson": False}), cutouts, {})
    gained = (images(quiet, "image").astype(float) - np.stack([c.image for c in cutouts]).astype(float)).sum((2, 3))[positive]
    fluxes = source_fluxes({k: np.array(rows[k].to_pylist(), float) for k in ("mag_r", "src_dmag", "src_gr", "src_rz")})[positive]
    magnification = np.array(stamps["magnification"].to_pylist(), float)[positive]
    np.testing.assert_allclose(gained, fluxes * magnification[:, None], rtol=0.01)
    total = np.stack([stamps[f"total_injected_flux_{b}"].to_numpy()[positive] for b in "grz"], 1)
    np.testing.assert_allclose(gained, total, rtol=1e-3)


def test_arcs_are_lenstronomys(rows, cutouts):
    """The same source and lens through lenstronomy's own ray shooting, 12 × 12 rays to a pixel, and a Moffat kernel."""
    quiet = dataset(camera={"poisson": False}, rendering={"accuracy": 5e-4})
    made = inject_rows(rows, quiet, cutouts, {})
    size, scale, fine = 64, 0.262, 12
    for i in np.flatnonzero(rows["label"].to_numpy() == 1)[:4]:
        row, c = rows.slice(int(i), 1).to_pylist()[0], cutouts[i]
        axis = (np.arange(size * fine) - (size * fine - 1) / 2) * scale / fine
        x, y = (a.ravel() for a in np.meshgrid(axis - c.x_offset_arcsec, axis - c.y_offset_arcsec))
        lens, e = LensModel(["SIE", "SHEAR"]), row["lens_e"]
        shear = row["shear"]
        parameters = [
            {"theta_E": row["theta_e_arcsec"], "e1": e * np.cos(2 * row["lens_phi_rad"]), "e2": e * np.sin(2 * row["lens_phi_rad"])},
            {"gamma1": shear * np.cos(2 * row["shear_phi_rad"]), "gamma2": shear * np.sin(2 * row["shear_phi_rad"])},
        ]
        bx, by = lens.ray_shooting(x, y, parameters)
        still = sersic_image(row["src_reff_arcsec"], row["src_n"], row["src_e"])
        light = LightModel(["INTERPOL"])
        surface = light.surface_brightness(
            bx, by,
            [{"image": still.light, "amp": 1.0, "center_x": row["src_x_arcsec"], "center_y": row["src_y_arcsec"], "phi_G": row["src_phi_rad"], "scale": still.pixel_scale_arcsec}],
        )  # fmt: skip
        image = surface.reshape(size, fine, size, fine).mean((1, 3)) * scale**2
        kernel = psf_kernels(moffat_from_psfsize(1.3), quiet.camera, 63).numpy()
        flux = 10 ** (0.4 * (22.5 - row["mag_r"] - row["src_dmag"]))
        expected = fftconvolve(image, kernel, mode="same") * flux
        found = images(made, "image")[i, 1].astype(float) - c.image[1]
        # 12 × 12 rays err by 0.2% at worst, ours by 0.05%.
        assert np.abs(found - expected).max() < 3e-3 * expected.max()


def test_the_psf_is_the_one_that_psfsize_stands_for(stamps):
    """psfsize is 2.355 σ of the Gaussian of the same noise-equivalent area: that of the kernel used must be it."""
    fwhm = stamps["psf_fwhm_used_r"].to_numpy()[0]
    kernel = psf_kernels(fwhm, dataset().camera, 63).numpy()
    area = 0.262**2 / (kernel**2).sum()
    assert 2.354820045 * np.sqrt(area / (4 * np.pi)) == pytest.approx(1.3, rel=2e-3)


@pytest.mark.parametrize("camera", [{"psf": "gaussian"}, *({"beta": beta} for beta in (1.5, 2.0, 3.5, 10.0))])
@pytest.mark.parametrize("psfsize", [0.9, 1.6])
def test_kernels_have_the_noise_equivalent_area_of_their_psfsize(camera, psfsize):
    """4πσ² = 1/Σ k², σ = psfsize/2.355: pixels of 0.262″ take 5% of the narrowest core that the config lets through."""
    camera = Camera.model_validate(camera)
    kernel = psf_kernels(psf_fwhm(np.array(psfsize), camera), camera, 63).numpy()
    assert 2.3548 * 0.262 / np.sqrt(4 * np.pi * (kernel**2).sum()) == pytest.approx(psfsize, rel=0.06 if camera.beta == 1.5 else 0.006)


def test_a_moffat_slope_whose_core_pixels_cannot_show_is_refused():
    with pytest.raises(ValidationError, match="beta"):
        Camera(beta=1.2)


def test_the_same_bits_for_any_batch_and_company(rows, cutouts, stamps):
    other = inject_rows(rows, dataset(rendering={"batch_size": 3}), cutouts, {})
    for k in (0, 7, 13):
        alone = inject_rows(rows.slice(k, 1), dataset(), cutouts[k : k + 1], {})
        for table in (other.slice(k, 1), alone):
            np.testing.assert_array_equal(bits(images(table, "image")), bits(images(stamps, "image")[k : k + 1]))
            assert table.drop_columns(["image"]).to_pylist() == stamps.slice(k, 1).drop_columns(["image"]).to_pylist()


def test_poisson_noise_is_that_of_the_arcs_own_electrons(rows, cutouts):
    faint, bright = (dataset(camera={"electrons_per_nanomaggy": {b: g for b in "grz"}}) for g in (50.0, 5000.0))
    quiet = images(inject_rows(rows, dataset(camera={"poisson": False}), cutouts, {}), "image").astype(float)
    image = np.stack([c.image for c in cutouts]).astype(float)
    lit = (quiet - image) > 0.05
    for made, gain in ((faint, 50.0), (bright, 5000.0)):
        noise = (images(inject_rows(rows, made, cutouts, {}), "image").astype(float) - quiet)[lit]
        pull = noise / np.sqrt((quiet - image)[lit] / gain)
        assert pull.std() == pytest.approx(1, abs=5 / np.sqrt(2 * lit.sum())) and abs(pull.mean()) < 5 / np.sqrt(lit.sum())


def test_magnification_and_stretch_of_a_singular_sphere(rows, cutouts):
    """A small source at β before an SIS of θ_E: μ = 2 θ_E/β, and radially nothing is stretched."""
    values = {
        "theta_e_arcsec": 1.2,
        "lens_e": 0.0,
        "shear": 0.0,
        "src_x_arcsec": 0.5,
        "src_y_arcsec": 0.0,
        "src_reff_arcsec": 0.02,
        "src_e": 0.0,
    }
    made = inject_rows(with_columns(rows, **values), dataset(), cutouts, {})
    positive = made["label"].to_numpy() == 1
    np.testing.assert_allclose(np.array(made["magnification"].to_pylist(), float)[positive], 2 * 1.2 / 0.5, rtol=5e-3)
    np.testing.assert_allclose(np.array(made["radial_stretch"].to_pylist(), float)[positive], 1, atol=1e-6)
    # Images at θ = 1.7 and 0.7, with μ = 3.4 and 1.4 and tangential stretches of as much: 4.8/(1 + 1).
    np.testing.assert_allclose(np.array(made["tangential_stretch"].to_pylist(), float)[positive], 2.4, rtol=0.06)


def test_signal_to_noise_on_good_pixels_alone():
    signal, invvar, good = np.array([[3.0, 4.0], [100.0, 0.0]]), np.array([[1.0, 4.0], [1.0, 1.0]]), np.array([[True, True], [False, True]])
    found = arc_signal_to_noise(signal, invvar, good)
    assert found["arc_snr"] == 8.0
    assert found["arc_snr_sum"] == pytest.approx(7 / np.sqrt(1 + 0.25 + 1))
    assert found["arc_snr_matched"] == pytest.approx(np.sqrt(9 + 64))
    # The matched filter is the best there is.
    assert found["arc_snr_matched"] >= max(found["arc_snr"], found["arc_snr_sum"])
    # A pixel without weight is as one that is not good, and does not bring the sum to nothing.
    invvar[1, 0] = 0.0
    assert arc_signal_to_noise(signal, invvar, np.ones((2, 2), bool)) == found


def test_a_cutout_that_is_not_ok_gives_an_empty_stamp_with_its_reason(rows, cutouts):
    made = inject_rows(rows, dataset(), [refused() if i % 2 else c for i, c in enumerate(cutouts)], {})
    bad = np.arange(rows.num_rows) % 2 == 1
    np.testing.assert_array_equal(made["cutout_ok"].to_numpy(zero_copy_only=False), ~bad)
    assert not images(made, "image")[bad].any() and set(made["cutout_reason"].filter(bad).to_pylist()) == {"band z is missing"}
    assert not made["metrics_ok"].to_numpy(zero_copy_only=False)[bad].any()


def test_wrong_units_of_surface_brightness_do_not_close(rows, cutouts):
    """A source in flux per pixel instead of per arcsec², as once happened: arcs 1,111 times too faint at 0.03 arcsec."""
    real = with_columns(rows, source_kind="cosmos", source_id="1")

    def image(scale):
        return lambda row: StillImage(sersic_image(0.3, 1, 0).light * scale, sersic_image(0.3, 1, 0).pixel_scale_arcsec)

    right, wrong = (inject_rows(real, dataset(), cutouts, {"cosmos": image(s)}) for s in (1.0, 0.03**2))
    positive = rows["label"].to_numpy() == 1
    assert right["physics_valid"].to_numpy(zero_copy_only=False)[positive].all()
    assert wrong["flux_closure"].drop_null().to_numpy().min() > 0.99
    assert not wrong["physics_valid"].to_numpy(zero_copy_only=False)[positive].any()


def test_missing_images_and_cutouts_are_named(rows, cutouts):
    with pytest.raises(InjectionError, match="cosmos sources"):
        inject_rows(with_columns(rows, source_kind="cosmos"), dataset(), cutouts, {})
    with pytest.raises(InjectionError, match="only 5 cutouts"):
        inject_rows(rows, dataset(), cutouts[:5], {})


def test_rows_of_one_galaxy_share_a_cutout_that_is_read_once(monkeypatch):
    """The same place in another brick is another cutout: bricks overlap, and their pixels differ."""
    read, closed = [], []

    class Brick:
        def __init__(self, name):
            self.name = name

        def cutout(self, ra, dec, size):
            read.append((self.name, ra, dec))
            return (self.name, ra, dec, size)

        def close(self):
            closed.append(self.name)

    monkeypatch.setattr(inputs, "open_brick", lambda folder, name, *_, **__: Brick(name))
    places = [("a", 1.0, 2.0), ("a", 1.0, 2.0), ("a", 1.0, 2.5), ("a", 1.0, 2.0), ("b", 1.0, 2.0), ("b", 1.0, 2.0)]
    rows = pa.table(dict(zip(("brickname", "ra", "dec"), map(list, zip(*places, strict=True)), strict=True)))
    found = list(inputs.cut_rows(rows, ["x/a", "x/b"], 64, maskbits=[], max_bad_fraction=0.2))
    assert found == [(*place, 64) for place in places]
    assert read == [("a", 1.0, 2.0), ("a", 1.0, 2.5), ("b", 1.0, 2.0)] and closed == ["a", "b"]
