"""The detector on rendered stamps: what it reads, what it finds, batches, shards that were stopped, scores."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.evidence import Evidence
from darkhaloscope.config.subhalo import SubhaloDataset
from darkhaloscope.core.tables import images, write_table
from darkhaloscope.detectors.evidence.detect import Detector, Stamp
from darkhaloscope.detectors.evidence.findings import FINDINGS, OBSERVED, _kept, calibrate, find_in_shard, read_observed, score_table
from darkhaloscope.detectors.evidence.fit import FAR, ascend, climb
from darkhaloscope.detectors.evidence.pixels import DetectorError, Sky, flux_channel, measure_sky, response, stack
from darkhaloscope.detectors.evidence.plane import SourcePlane
from darkhaloscope.detectors.evidence.scan import Scan
from darkhaloscope.detectors.schema import SCORES
from darkhaloscope.lensing.observe import convolve, psf_kernel
from darkhaloscope.tasks.subhalo.schema import stamp_schema


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def found(detector, shard, tmp_path_factory):
    """Findings of the shard, and where they are kept."""
    partial = tmp_path_factory.mktemp("findings") / "part.parquet"
    return find_in_shard(detector, shard[1], partial, "key", quiet), partial


def test_subhalos_stand_out_at_their_place(found, shard):
    table, stamps = found[0].to_pandas(), shard[0]
    label = stamps["label"].to_numpy().astype(bool)
    log_bayes = table["log_bayes_both"].to_numpy()
    clear = log_bayes > max(log_bayes[~label].max(), 5)
    assert clear.sum() >= 2  # of three
    away = np.hypot(table["found_x_arcsec"] - stamps["subhalo_x_arcsec"], table["found_y_arcsec"] - stamps["subhalo_y_arcsec"])
    assert away[clear].max() < 0.25


def test_the_lens_is_found_without_the_truth(found, shard):
    table, stamps = found[0].to_pandas(), shard[0]
    control = stamps["label"].to_numpy() == 0
    theta = stamps["theta_e_arcsec"].to_numpy()
    assert np.abs(table["fit_theta_e"] - theta)[control].max() < 0.03
    assert (table["fit_theta_e_error"] < 0.03).all()


def test_it_reads_nothing_but_the_observed_images(detector, found, shard, tmp_path):
    """Every other column is shuffled among the stamps; findings stay the same to the last bit."""
    stamps, order = shard[0].slice(0, 2), pa.array([1, 0])
    shuffled = stamps
    for index, name in enumerate(stamps.column_names):
        if name not in {"stamp_id", "number", *OBSERVED}:
            shuffled = shuffled.set_column(index, shuffled.schema.field(index), stamps[name].combine_chunks().take(order))
    assert shuffled["label"].to_pylist() != stamps["label"].to_pylist()
    assert shuffled["theta_e_arcsec"].to_pylist() != stamps["theta_e_arcsec"].to_pylist()
    path = tmp_path / "shuffled.parquet"
    write_table(path, stamp_schema(36), shuffled)
    again = find_in_shard(detector, path, tmp_path / "part.parquet", "key", quiet).to_pandas()
    pd.testing.assert_frame_equal(again, found[0].slice(0, 2).to_pandas(), check_exact=True)


def test_batches_of_different_sizes_find_what_single_stamps_do(disks, found, shard):
    several = Detector.of(disks, Cosmology(), Evidence(draws=64, batch_size=3))
    stamps = read_observed(shard[1], 36)[:3]
    assert len({int(measure_sky(s.flux, disks.instrument).arc.sum()) for s in stamps}) == 3
    for row, finding in enumerate(several.detect(stamps)):
        expected = found[0].slice(row, 1).to_pylist()[0]
        for channel, scan in finding.scans.items():
            assert float(scan.z.max()) == pytest.approx(expected[f"z_max_{channel}"], rel=0.03, abs=0.1)


def test_a_batch_whose_largest_stamp_has_no_velocity_finds_what_single_stamps_do(disks, found, shard):
    several = Detector.of(disks, Cosmology(), Evidence(draws=64, batch_size=2))
    stamps = sorted(read_observed(shard[1], 36)[:2], key=lambda s: measure_sky(s.flux, disks.instrument).arc.sum())
    fitted = several.fit([stamps[0], replace(stamps[1], mask=None)])
    assert set(fitted[0].channels) == {"flux", "velocity"} and set(fitted[1].channels) == {"flux"}
    flux, velocity = (fitted[0].channels[name][0].x.shape[1] for name in ("flux", "velocity"))
    assert flux > velocity  # padded to the larger stamp; velocities stand alone
    expected = next(row for row in found[0].to_pylist() if row["stamp_id"] == stamps[0].name)
    assert float(fitted[0].scan(several.profiles)["both"].z.max()) == pytest.approx(expected["z_max_both"], rel=0.03, abs=0.1)
    assert fitted[0].promise(several.profiles)["both"].max() > 1


def test_a_job_that_was_stopped_goes_on(detector, found, shard, tmp_path, caplog):
    table, _ = found
    write_table(tmp_path / "part.parquet", FINDINGS, table.slice(0, 5), key="key")
    write_table(tmp_path / "other.parquet", FINDINGS, table.slice(0, 5), key="other settings")
    told = []
    again = find_in_shard(detector, shard[1], tmp_path / "part.parquet", "key", lambda done, total: told.append((done, total)))
    assert told == [(6, 6)]
    assert again["stamp_id"].to_pylist() == table["stamp_id"].to_pylist()
    names = table["stamp_id"].to_pylist()
    assert len(_kept(tmp_path / "part.parquet", "key", names)) == 6
    assert len(_kept(tmp_path / "other.parquet", "key", names)) == 0
    assert len(_kept(tmp_path / "none.parquet", "key", names)) == 0


def test_scores_are_a_table_as_a_networks(found, shard, tmp_path):
    path = tmp_path / "found.parquet"
    write_table(path, FINDINGS, found[0])
    part = score_table([shard[1]], [path], "flux", dataset="disks", detector="evidence")
    calibrate([part])
    table = SCORES.table(part)
    score, log_bayes = table["score"].to_numpy(), found[0]["log_bayes_flux"].to_numpy()
    assert ((score >= 0) & (score <= 1)).all()
    assert (np.argsort(score) == np.argsort(log_bayes)).all()
    assert table["calibrated"].to_pylist() == pytest.approx(score.tolist())  # there are no validation stamps to fit
    write_table(path, FINDINGS, found[0].take(pa.array([1, 0, 2, 3, 4, 5])))
    with pytest.raises(ValueError, match="detect_subhalos makes it again"):
        score_table([shard[1]], [path], "flux", dataset="disks", detector="evidence")


def test_validation_stamps_calibrate():
    rng = np.random.default_rng(1)
    label = np.arange(400) % 2
    score = 1 / (1 + np.exp(-(2 * label - 1 + rng.standard_normal(400)) / 10))
    part = {"score": score, "calibrated": score, "label": label, "split": pa.array(["validation"] * 400)}
    calibrate([part])
    assert part["calibrated"][label == 1].mean() > 0.7 > 0.55 > score[label == 1].mean()


def test_a_stamp_without_light_says_nothing(detector, disks):
    dark = np.random.default_rng(2).standard_normal((36, 36)) * 0.03
    assert detector.detect([Stamp("dark", dark)]) == [None]
    with pytest.raises(DetectorError, match="dark has .* not finite"):
        measure_sky(np.full((36, 36), np.nan), disks.instrument, "dark")


def test_noise_is_measured_on_the_stamp_itself(disks, shard):
    stamps = shard[0]
    for flux, snr in zip(images(stamps, "flux"), stamps["peak_snr"].to_numpy(), strict=True):
        sky = measure_sky(flux, disks.instrument)
        assert np.sqrt(sky.variance.min()) == pytest.approx(np.sqrt(0.5) / snr, rel=0.12)


def test_the_operator_is_pixel_average_and_psf(disks):
    """One ray per pixel with the widened kernel sees a smooth image as a fine rendering behind the PSF does."""

    def image(x, y):
        return np.exp(-((np.hypot(x, y) - 0.8) ** 2) / (2 * 0.15**2)) * (1 + 0.3 * np.sin(2 * x))

    fine = ((np.arange(36 * 8) + 0.5) / 8 - 18) * 0.08
    truth = image(fine[None], fine[:, None]).reshape(36, 8, 36, 8).mean((1, 3))
    truth = convolve(torch.as_tensor(truth)[None], psf_kernel(disks.instrument.psf, 0.08))[0].numpy()
    sky = Sky(truth, np.ones_like(truth), truth > 0.2, truth)
    channel = flux_channel(sky, response(disks.instrument), 0.08)
    assert np.abs(channel.operator @ image(channel.x, channel.y) - channel.data).max() < 4e-3 * truth.max()


@pytest.fixture(scope="module")
def coarse(detector, shard):
    """The first stamp on bins of 2 × 2 pixels, its source plane, and eight lenses of the prior."""
    sky = measure_sky(images(shard[0], "flux")[0], detector.dataset.instrument)
    alone = stack([flux_channel(sky, detector.kernel, detector.scale, 2)])
    return alone, SourcePlane.about(detector.prior, alone), detector._prior_draws(8)


def test_a_search_finds_the_lenses_and_heights_of_a_climb(detector, coarse):
    """Its last step computes no more than heights."""
    alone, plane, values = coarse
    several, kernel = alone.of([0] * len(values)), detector._smooth(len(values))
    for steps in (1, 3):
        found, heights = ascend(several, plane, values, kernel, steps, FAR)
        about, _ = climb(several, plane, values, kernel, steps, FAR)
        np.testing.assert_allclose(found, about.values, atol=1e-9)
        np.testing.assert_allclose(heights, about.log_posterior, rtol=1e-5)


def test_it_refuses_datasets_without_subhalos():
    with pytest.raises(DetectorError, match="looks for a subhalo"):
        Detector.of(SubhaloDataset(contrast="lensed"), Cosmology(), Evidence())
    with pytest.raises(DetectorError, match="background_share is 0"):
        measure_sky(np.ones((36, 36)), SubhaloDataset(instrument={"noise": {"background_share": 0}}).instrument)


# --- the score of a stamp -------------------------------------------------------------------------


def test_strength_is_integrated_out():
    """Against scipy's quadrature over normal strengths; a width of nothing is the strength itself; to 1e-9, what the quadrature reaches."""
    score, information = np.array([[3.0, -1.0], [0.5, 0.0]]), np.array([[4.0, 9.0], [0.2, 0.0]])
    share, (mean, width) = np.array([[0.4, 0.1], [0.3, 0.2]]), (0.8, 0.3)

    def ratio(m, nu):
        return quad(lambda a: norm.pdf(a, mean, width) * np.exp(a * m - a * a * nu / 2), mean - 9 * width, mean + 9 * width)[0]

    expected = sum(w * ratio(m, nu) for w, m, nu in zip(share.flat, score.flat, information.flat, strict=True))
    scan = Scan(score, information, np.zeros(1))
    assert scan.log_bayes(share, (mean, width)) == pytest.approx(np.log(expected), abs=1e-9)
    fixed = np.log((share * np.exp(mean * score - mean**2 * information / 2)).sum())
    assert scan.log_bayes(share, (mean, 1e-5)) == pytest.approx(fixed, abs=1e-6)


def test_a_subhalo_at_another_strength_than_its_profiles_still_counts():
    """An SIS of 10% of θ_E shows at half of what its profile promises, once lens and source have taken up their part: at the promised strength alone it would speak against itself."""
    information = np.array([[400.0]])
    seen, absent = (Scan(np.array([[m]]), information, np.zeros(1)).log_bayes(np.ones((1, 1)), (0.8, 0.3)) for m in (180.0, 20.0))
    assert 180.0 - 400.0 / 2 < 0
    assert seen == pytest.approx((180 / 20) ** 2 / 2, abs=8)  # its z²/2 of 40.5, less what the width costs
    assert absent < 0
