"""Stamps: what a row decides and what it must not, units, noise, magnification, and the two renderers."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.ndimage import gaussian_filter

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.core.tables import images
from darkhaloscope.sources.source import SourceError
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import StampError, render_rows
from darkhaloscope.tasks.subhalo.schema import MEASURES, stamp_images, stamp_schema

COSMOLOGY = Cosmology()
PICTURES = [c.name for c in stamp_images(32)]


def manifest(dataset, bank=None):
    return build_manifest("few", dataset, bank, COSMOLOGY)


def stamps(dataset, bank=None, rows=None):
    return render_rows(manifest(dataset, bank) if rows is None else rows, dataset, bank, COSMOLOGY)


def with_column(rows, name, values):
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(name), pa.array(values, rows.schema.field(name).type))


def differing(a, b):
    """Names of the columns whose bits differ."""
    out = []
    for name in a.column_names:
        if name in PICTURES:
            same = np.array_equal(images(a, name), images(b, name))
        else:
            same = a.column(name).combine_chunks().equals(b.column(name).combine_chunks())
        if not same:
            out.append(name)
    return out


@pytest.fixture
def threads():
    """Function that sets torch's threads; they are put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# --- the row decides -------------------------------------------------------------------------------


def test_bits_do_not_depend_on_batches_shards_order_or_threads(make_dataset, make_bank, mixed, threads):
    # An odd side: its pixels fill no whole vectors of the processor.
    bank, odd = make_bank(4), {"stamp_size": 23}
    dataset = make_dataset(size={"train": 40}, sources=mixed, instrument=odd, rendering={"batch_size": 16})
    rows = manifest(dataset, bank)
    threads(1)
    reference = stamps(dataset, bank, rows)
    for batch in (1, 40):
        other = make_dataset(size={"train": 40}, sources=mixed, instrument=odd, rendering={"batch_size": batch})
        assert differing(stamps(other, bank, rows), reference) == []
    for shard in (7, 20):
        parts = [stamps(dataset, bank, rows.slice(i, shard)) for i in range(0, 40, shard)]
        assert differing(pa.concat_tables(parts), reference) == []
    backwards = np.arange(40)[::-1]
    assert differing(stamps(dataset, bank, rows.take(backwards)), reference.take(backwards)) == []
    threads(2)
    assert differing(stamps(dataset, bank, rows), reference) == []


def test_stamps_have_their_schema(make_dataset, make_bank, mixed):
    bank = make_bank(4)
    dataset = make_dataset(size={"train": 8}, sources=mixed)
    out = stamps(dataset, bank)
    stamp_schema(32).check(out.schema, "test")
    assert (np.asarray(out.column("source_fwhm_arcsec")) > 0).tolist() == [k == "manga" for k in out.column("source_kind").to_pylist()]


def test_measures_and_masks_do_not_know_the_label(make_dataset, make_bank, mixed):
    bank = make_bank(4)
    dataset = make_dataset(sources=mixed)
    rows = manifest(dataset, bank)
    swapped = with_column(rows, "label", [1 - v for v in rows.column("label").to_pylist()])
    changed = differing(stamps(dataset, bank, rows), stamps(dataset, bank, swapped))
    assert sorted(changed) == ["flux", "label", "observed_mask", "observed_sigma", "observed_velocity", "velocity"]


def test_an_observed_mask_may_know_it(make_dataset):
    dataset = make_dataset(instrument={"mask": "observed"}, subhalo={"profiles": {"sis": 1.0}, "theta_e_factor": 0.3})
    rows = manifest(dataset)
    swapped = with_column(rows, "label", [1 - v for v in rows.column("label").to_pylist()])
    changed = differing(stamps(dataset, rows=rows), stamps(dataset, rows=swapped))
    assert sorted(changed) == [
        "flux",
        "label",
        "mask",
        "mask_fraction",
        "observed_mask",
        "observed_sigma",
        "observed_velocity",
        "velocity",
        "velocity_sigma",
    ]


def test_a_subhalo_of_no_mass_makes_a_control(make_dataset):
    dataset = make_dataset(subhalo={"profiles": {"sis": 1.0}, "theta_e_factor": 1e-12})
    out = stamps(dataset)
    assert np.abs(np.asarray(out.column("d_prime_flux"))).max() < 1e-4


# --- contrasts -------------------------------------------------------------------------------------


def quiet(**instrument):
    return {"noise": {"flux": False, "velocity": False, "peak_snr": 20, **instrument.pop("noise", {})}, **instrument}


def test_kinematics_contrast_leaves_the_flux_alone(make_dataset):
    dataset = make_dataset(contrast="kinematics")
    rows = manifest(dataset)
    swapped = with_column(rows, "label", [1 - v for v in rows.column("label").to_pylist()])
    one, two = stamps(dataset, rows=rows), stamps(dataset, rows=swapped)
    assert sorted(differing(one, two)) == ["label", "observed_velocity", "velocity"]
    assert not np.asarray(one.column("d_prime_flux")).any() and np.asarray(one.column("d_prime_velocity")).all()


def _places(rows):
    """Sources from the stamps' middles; where the lens is, is what the shear about it adds is below 0.003 arcsec."""
    return rows[["src_x_arcsec", "src_y_arcsec"]].to_numpy() + rows[["lens_x_arcsec", "lens_y_arcsec"]].to_numpy()


def test_lensed_contrast_shows_the_source_itself(make_dataset):
    dataset = make_dataset(
        contrast="lensed", instrument=quiet(), sources={"disk": {"scale_radius_arcsec": 0.1}}, lens={"theta_e_arcsec": 1.0}
    )
    out = stamps(dataset).to_pandas()
    assert (out.loc[out["label"] == 0, "magnification"] == 1).all() and (out.loc[out["label"] == 1, "magnification"] > 2).all()
    assert (out.loc[out["label"] == 0, "image_count"] == 1).all() and (out.loc[out["label"] == 1, "image_count"] > 1).all()
    flux = images(stamps(dataset), "flux")
    # Both classes peak at 1, so that brightness alone tells nothing.
    assert flux.max(axis=(1, 2)) == pytest.approx(1, abs=1e-6)
    y, x = (np.indices((32, 32)) - 15.5) * 0.12
    centre = [(f * a).sum() / f.sum() for f, label in zip(flux, out["label"], strict=True) if label == 0 for a in (x, y)]
    wanted = _places(out[out["label"] == 0]).ravel()
    # Knots and bulge are not symmetric about the centre: a fraction of the scale radius.
    assert np.abs(centre - wanted).max() < 0.1


def test_a_galaxy_off_the_centre_of_its_maps_is_placed_by_its_own_centre(make_dataset, make_bank, mixed):
    y, x = np.indices((32, 32))
    flux = np.exp(-((x - 20) ** 2 + (y - 10) ** 2) / 8)
    bank = make_bank(
        1, flux=flux[None], velocity=0 * flux[None], valid=np.ones((1, 32, 32), np.uint8), centre_x_pix=[20.0], centre_y_pix=[10.0]
    )
    dataset = make_dataset(
        contrast="lensed", sources={**mixed, "mix": {"manga": 1.0}}, splits={"tolerance": 1.0}, instrument=quiet(psf={"fwhm_arcsec": 0.13})
    )
    out = stamps(dataset, bank)
    table, flux = out.to_pandas(), images(out, "flux")
    assert table["src_flip"].nunique() == 2
    v, u = (np.indices((32, 32)) - 15.5) * 0.12
    for row in np.flatnonzero(table["label"] == 0):
        centroid = [(flux[row] * a).sum() / flux[row].sum() for a in (u, v)]
        # A Gaussian of σ 0.07 to 0.14 arcsec on pixels of 0.12: its centroid is known to a few per cent of a pixel.
        assert centroid == pytest.approx(_places(table.loc[[row]])[0].tolist(), abs=0.01)


# --- units, noise, velocity ------------------------------------------------------------------------


def test_flux_is_in_units_of_the_smooth_lens_peak(make_dataset):
    dataset = make_dataset(instrument=quiet())
    out = stamps(dataset)
    control = np.asarray(out.column("label")) == 0
    peaks = images(out, "flux").max(axis=(1, 2))
    assert peaks[control] == pytest.approx(1, abs=1e-6)
    assert (peaks[~control] != 1).all()
    # S/N 20 at the peak with all noise, half of it the background's: without the arc's own electrons √2 times as much.
    assert np.asarray(out.column("arc_snr")) == pytest.approx(20 * np.sqrt(2), rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_noise_has_the_variance_that_is_stated(make_dataset, share):
    # One row, drawn under many numbers: each number is another realisation of the same stamp.
    noisy = make_dataset(
        instrument={"noise": {"peak_snr": 8, "background_share": share}, "psf": {"kind": "none"}}, rendering={"accuracy": 0.1}
    )
    rows = manifest(noisy).slice(1, 1)
    disk = {"disk_n_knots": 0, "disk_knot_fraction": 0.0}
    many = pa.concat_tables([with_column(rows, "number", [1000 + i]) for i in range(400)])
    for name, value in disk.items():
        many = with_column(many, name, [value] * 400)
    flux = images(stamps(noisy, rows=many), "flux").astype(float)
    silent = make_dataset(
        instrument=quiet(noise={"peak_snr": 8, "background_share": share}, psf={"kind": "none"}), rendering={"accuracy": 0.1}
    )
    clean = images(stamps(silent, rows=many.slice(0, 1)), "flux")[0].astype(float)
    variance = (share + (1 - share) * clean) / 64
    assert flux.mean(axis=0).sum() == pytest.approx(clean.sum(), abs=5 * np.sqrt(variance.sum() / 400))
    bright = clean > 0.3
    # The variance of 400 draws is known to 7%; averaged over tens of pixels to about 1%.
    assert (flux.var(axis=0)[bright] / variance[bright]).mean() == pytest.approx(1, abs=0.04)


def test_velocity_error_follows_the_line(make_dataset):
    dataset = make_dataset(instrument=quiet(noise={"velocity_floor_kms": 0, "background_share": 1.0}))
    out = stamps(dataset)
    flux, sigma, mask = (images(out, k) for k in ("flux", "velocity_sigma", "mask"))
    control = np.asarray(out.column("label")) == 0
    # σ = 1/20 of the peak everywhere: S/N is 20 F, and a velocity exists above 3.
    assert np.array_equal(mask[control] == 1, flux[control] * 20 >= 3)
    inside = mask[control] == 1
    assert sigma[control][inside] == pytest.approx(120 / 2.3548 / (20 * flux[control][inside]), rel=1e-4)


def test_noise_of_the_velocity_is_its_error(make_dataset):
    with_noise, without = make_dataset(size={"train": 40}), make_dataset(size={"train": 40}, instrument={"noise": {"velocity": False}})
    a, b = stamps(with_noise), stamps(without)
    mask, sigma = images(a, "mask") == 1, images(a, "velocity_sigma")
    pull = (images(a, "velocity") - images(b, "velocity"))[mask] / sigma[mask]
    assert len(pull) > 3000
    assert pull.std() == pytest.approx(1, abs=0.05) and pull.mean() == pytest.approx(0, abs=0.08)


def test_velocity_is_what_a_spectral_cube_gives(make_dataset):
    # A control is rendered without noise; the same source is then lensed channel by channel of a cube, with many more rays.
    instrument = {"psf": {"fwhm_arcsec": 0.3}, "stamp_size": 32, "pixel_scale_arcsec": 0.12}
    dataset = make_dataset(size={"train": 2}, instrument=quiet(**instrument), rendering={"accuracy": 3e-4})
    rows = manifest(dataset)
    out = stamps(dataset, rows=rows).slice(1, 1)
    cube, channels = _lensed_cube(rows.slice(1, 1), dataset)
    sigma_pixels = 0.3 / 2.354820045 / 0.12
    seen = np.stack([gaussian_filter(plane, sigma_pixels, mode="constant", truncate=8) for plane in cube])
    velocity = np.tensordot(channels, seen, (0, 0)) / np.where(seen.sum(0) > 0, seen.sum(0), 1)
    mask = images(out, "mask")[0] == 1
    mine = images(out, "velocity")[0]
    # 1e-3 of the velocity range: the accuracy, the kernel's truncation (1e-4 of the light) and the channels' width.
    assert np.abs(mine - velocity)[mask].max() < 1e-3 * np.ptp(velocity[mask])


def _lensed_cube(row, dataset):
    """Flux of a row's lensed disk per velocity channel, before the PSF: rays by lenstronomy, the line a Gaussian."""
    from darkhaloscope.lensing.reference import lens_model, ray_grid
    from darkhaloscope.lensing.render import Grid
    from darkhaloscope.sources.disk import disk_moments, row_disk
    from darkhaloscope.stamps.columns import row_columns, source_position
    from darkhaloscope.tasks.subhalo.render import macro_lenses

    columns = row_columns(row)
    x, y = ray_grid(Grid(32, 0.12), 16)
    model, arguments = lens_model(macro_lenses(columns, torch.float64), None, 0)
    bx, by = model.ray_shooting(x, y, arguments)
    disk = row_disk(columns, 0, dataset.seed)
    source_x, source_y = source_position(columns, columns["lens_x_arcsec"], columns["lens_y_arcsec"])
    flux, speed = disk_moments(disk, bx - source_x[0], by - source_y[0])
    channels = np.arange(-500, 501, 20.0)
    line = np.exp(-((channels[:, None] - speed) ** 2) / (2 * disk.dispersion**2))
    cube = flux * line / line.sum(0)
    return cube.reshape(len(channels), 32, 16, 32, 16).sum((2, 4)), channels


def test_blocks_share_one_flux_weighted_velocity(make_dataset):
    fine = make_dataset(size={"train": 2}, instrument=quiet(noise={"velocity_min_snr": 0}))
    coarse = make_dataset(size={"train": 2}, instrument=quiet(noise={"velocity_min_snr": 0}, velocity_block=4))
    one, two = stamps(fine), stamps(coarse)
    flux, velocity = images(one, "flux").astype(float), images(one, "velocity").astype(float)
    blocks = images(two, "velocity").reshape(2, 8, 4, 8, 4)
    assert (blocks == blocks[:, :, :1, :, :1]).all()

    def sums(image):
        return image.reshape(2, 8, 4, 8, 4).sum((2, 4))

    bright = sums(flux) > 0.5
    # Controls only: in a positive flux and velocity share the perturbed image as well.
    assert blocks[:, :, 0, :, 0][bright] == pytest.approx((sums(flux * velocity) / sums(flux))[bright], abs=1e-2)


def test_ideal_observer_is_the_norm_of_the_difference(make_dataset):
    dataset = make_dataset(instrument=quiet(noise={"background_share": 0.5}))
    rows = manifest(dataset)
    controls, positives = (stamps(dataset, rows=with_column(rows, "label", [v] * 12)) for v in (0, 1))
    f0, f1 = (images(t, "flux").astype(float) for t in (controls, positives))
    v0, v1 = (images(t, "velocity").astype(float) for t in (controls, positives))
    variance = (0.5 + 0.5 * np.maximum(f0, 0)) / 400
    d_flux = np.sqrt(((f1 - f0) ** 2 / variance).sum((1, 2)))
    mask, sigma = images(controls, "mask") == 1, images(controls, "velocity_sigma").astype(float)
    d_velocity = np.sqrt((np.where(mask, (v1 - v0) / np.where(mask, sigma, 1), 0) ** 2).sum((1, 2)))
    # Stored images are float32.
    assert np.asarray(controls.column("d_prime_flux")) == pytest.approx(d_flux, rel=1e-4)
    assert np.asarray(controls.column("d_prime_velocity")) == pytest.approx(d_velocity, rel=1e-3)
    assert np.asarray(controls.column("d_prime_both")) == pytest.approx(np.hypot(d_flux, d_velocity), rel=1e-3)


# --- lensing ---------------------------------------------------------------------------------------


def test_magnification_of_a_small_source_by_an_sis(make_dataset):
    offset = 0.4
    dataset = make_dataset(
        lens={
            "profile": "sis", "theta_e_arcsec": 1.0, "shear": 0.0, "multipole_m3": 0.0, "multipole_m4": 0.0, "centre_offset_arcsec": 0.0,
        },
        sources={"offset_arcsec": offset, "disk": {"scale_radius_arcsec": 0.03, "n_knots": 0, "knot_fraction": 0.0, "bulge_fraction": 0.0}},
        rendering={"accuracy": 2e-3},
    )  # fmt: skip
    out = stamps(dataset)
    # A point at β < θ_E is magnified 2 θ_E/β; the disk's extent R_s²/β² changes that by half a percent.
    assert np.asarray(out.column("magnification")) == pytest.approx(2 / offset, rel=0.02)
    assert np.asarray(out.column("critical_radius_arcsec")) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("placement", ["arc", "annulus", "critical"])
def test_subhalos_sit_where_the_config_says(make_dataset, placement):
    out = stamps(make_dataset(size={"train": 60}, subhalo={"placement": placement})).to_pandas()
    x, y = out["subhalo_x_arcsec"] - out["lens_x_arcsec"], out["subhalo_y_arcsec"] - out["lens_y_arcsec"]
    ratio = np.hypot(x, y) / out["theta_e_arcsec"]
    if placement == "annulus":
        assert ratio.between(0.9, 1.3).all()
    elif placement == "critical":
        # The polygon's corners let a few micro-arcsec through.
        assert (out["subhalo_critical_distance_arcsec"] < 0.2 + 1e-3).all() and out["subhalo_critical_distance_arcsec"].max() > 0.15
    else:
        assert out["subhalo_arc_distance_arcsec"].median() < 0.12


@pytest.mark.parametrize("kind", ["disk", "manga"])
def test_stamps_and_their_observers_are_those_of_converged_lenstronomy(make_dataset, make_bank, mixed, kind):
    bank, few = make_bank(3), {"size": {"train": 4}, "sources": {**mixed, "mix": {kind: 1.0}}, "instrument": quiet()}
    # A place that no image decides, and subhalos of every strength.
    few["subhalo"] = {"placement": "annulus", "theta_e_factor": {"log_uniform": [0.003, 0.1]}, "log10_mass_msun": [[8.0, 10.0]]}
    fast = make_dataset(**few, rendering={"accuracy": 1e-3})
    slow = make_dataset(**few, rendering={"renderer": "lenstronomy", "supersampling": 20})
    a, b = stamps(fast, bank), stamps(slow, bank)
    # The accuracy, and half as much for what the reference errs by.
    assert np.abs(images(a, "flux") - images(b, "flux")).max() < 1.5e-3
    both = (images(a, "mask") == 1) & (images(b, "mask") == 1)
    assert np.abs(images(a, "velocity") - images(b, "velocity"))[both].max() < 1e-2 * np.ptp(images(b, "velocity")[both])
    # The same rays with and without the subhalo: its signal is far truer than either image.
    for name in ("d_prime_flux", "d_prime_velocity"):
        assert np.asarray(a.column(name)) == pytest.approx(np.asarray(b.column(name)), rel=1e-2), name


def test_products_of_lensing(make_dataset):
    round_ = {"profile": "sis", "theta_e_arcsec": 1.0, "shear": 0.0, "multipole_m3": 0.0, "multipole_m4": 0.0, "centre_offset_arcsec": 0.0}
    small = {"scale_radius_arcsec": 0.02, "n_knots": 0, "knot_fraction": 0.0, "bulge_fraction": 0.0}
    dataset = make_dataset(
        lens=round_,
        sources={"offset_arcsec": 0.4, "disk": small},
        instrument={"stamp_size": 48, "pixel_scale_arcsec": 0.08, "psf": {"fwhm_arcsec": 0.1}},
    )
    out = stamps(dataset).to_pandas()
    assert (out["image_count"] == 2).all() and (out["clump_count"] == 0).all()
    # w|1 − κ − γ| is the share of one unlensed source for each of the two images, to what pixel centres miss of an arc this thin;
    # radially nothing is stretched.
    assert out["tangential_stretch"].to_numpy() == pytest.approx(out["magnification"].to_numpy() / 2, rel=0.05)
    assert out["radial_stretch"].to_numpy() == pytest.approx(1, abs=1e-6)
    # The brighter image holds (θ_E/β + 1)/(2 θ_E/β) = 0.7 of the light, at 1.4″, the fainter lies at 0.6″.
    assert out["lensed_hlr_arcsec"].to_numpy() == pytest.approx(1.4, abs=0.12)


# --- errors ----------------------------------------------------------------------------------------


def test_a_row_that_needs_a_bank_says_so(make_dataset, make_bank, mixed):
    dataset = make_dataset(sources=mixed)
    rows = manifest(dataset, make_bank(4))
    with pytest.raises(StampError, match=r"stamp few-train-\d+ has a manga source, but there is no bank"):
        stamps(dataset, None, rows)


def test_a_galaxy_that_the_bank_lacks_is_named(make_dataset, make_bank, mixed):
    dataset = make_dataset(size={"train": 40}, sources=mixed)
    rows = manifest(dataset, make_bank(4))
    with pytest.raises(SourceError, match="no galaxy 800"):
        stamps(dataset, make_bank(2), rows)


def test_a_source_outside_the_stamp_is_refused(make_dataset, make_bank, mixed):
    dataset = make_dataset(sources={**mixed, "mix": {"manga": 1.0}, "offset_arcsec": 40.0}, lens={"shear": 0.0})
    with pytest.raises(StampError, match=r"has no light in its field .* enlarge the stamp"):
        stamps(dataset, make_bank(4))


def test_measures_are_all_filled(make_dataset):
    out = stamps(make_dataset()).to_pandas()
    assert np.isfinite(out[[c.name for c in MEASURES]].to_numpy()).all()


@pytest.mark.parametrize("label", [0, 1])
def test_noise_of_the_observed_velocity_follows_the_stamps_own_flux_in_both_classes(make_dataset, label):
    """Noise that followed the smooth lens' flux would, held against the observed flux, tell the classes apart."""
    settings = {"subhalo": {"profiles": {"sis": 1.0}, "theta_e_factor": 0.3}, "size": {"train": 2}}
    noisy, silent = (
        make_dataset(instrument={"noise": {"peak_snr": 30, "flux": False, "velocity": v, "velocity_floor_kms": 0}}, **settings)
        for v in (True, False)
    )
    row = manifest(noisy).slice(0, 1)
    many = pa.concat_tables([with_column(with_column(row, "label", [label]), "number", [5000 + i]) for i in range(200)])
    for name, value in {"disk_n_knots": 0, "disk_knot_fraction": 0.0}.items():
        many = with_column(many, name, [value] * 200)
    out, true = stamps(noisy, rows=many), stamps(silent, rows=many)
    seen = images(out, "observed_mask")[0] == 1
    pull = ((images(out, "observed_velocity") - images(true, "observed_velocity")) / np.maximum(images(out, "observed_sigma"), 1e-9))[
        :, seen
    ]
    # 200 draws of each pixel: the deviation is known to 5% per pixel, 5 of those.
    assert np.abs(pull.std(axis=0) - 1).max() < 0.25
