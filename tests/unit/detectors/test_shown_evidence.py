"""What the report's first screen shows of the model-based detector: maps of the stamp that is shown first, made without its truth."""

import numpy as np

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.evaluation.example_table import EVIDENCE, read_examples, write_examples
from darkhaloscope.evaluation.examples import strongest_first
from darkhaloscope.evaluation.shown_evidence import show_evidence


def test_the_first_stamps_subhalo_stands_out_in_its_own_maps(shard, detector, tmp_path):
    stamps, path = shard
    write_examples(tmp_path / "evidence.parquet", show_evidence(path, detector, Cosmology()))
    captions, pictures = read_examples(tmp_path / "evidence.parquet", EVIDENCE)
    shown = {name: several[0] for name, several in pictures.items()}
    positives = stamps.filter(stamps["label"].to_numpy() == 1)
    row = positives.slice(strongest_first(positives, 4)[0], 1).to_pylist()[0]
    # The strongest of its kind, and so the one that is shown without and with its subhalo.
    assert row["d_prime_both"] == max(positives["d_prime_both"].to_pylist())
    assert np.array_equal(shown["flux"], np.reshape(row["flux"], (36, 36)).astype(np.float32))
    assert np.allclose(shown["place"][0], [row["subhalo_x_arcsec"], row["subhalo_y_arcsec"]], atol=1e-5)
    assert np.hypot(*(shown["found"][0] - shown["place"][0])) < 0.25 and np.nanmax(shown["z"]) > 3
    # z is greatest where the cross is; pixels that were not tried have no value there and none of the limit.
    scale = detector.scale
    y, x = np.unravel_index(np.nanargmax(shown["z"]), (36, 36))
    assert np.allclose((np.array([x, y]) - 17.5) * scale, shown["found"][0], atol=1e-4)
    masses = detector.settings.sensitivity.log10_mass_msun
    seen = shown["limit"][np.isfinite(shown["limit"])]
    assert len(seen) and seen.min() >= masses[0] and seen.max() <= masses[-1]
    assert np.isnan(shown["z"]).any() and not np.isfinite(shown["limit"][np.isnan(shown["z"])]).any()
    assert f"greatest z {np.nanmax(shown['z']):.1f}" in captions[0]


def test_a_shard_without_a_positive_that_can_be_fitted_shows_nothing(shard, detector, tmp_path, monkeypatch):
    monkeypatch.setattr(type(detector), "fit", lambda self, stamps: [None] * len(stamps))
    write_examples(tmp_path / "evidence.parquet", show_evidence(shard[1], detector, Cosmology()))
    assert read_examples(tmp_path / "evidence.parquet", EVIDENCE) == ((), {})
