"""The files that a run's config names, by their keys: those that its experiments need, and no others."""

from pathlib import Path

from darkhaloscope.config.named_files import named_files
from darkhaloscope.config.run import load

ROOT = Path(__file__).parents[3]

CONFIG = {
    "run": ["subhalo", "finder"],
    "legacysurvey": {
        "surveys": {
            "sky": {"known_lenses": {"mine": {"path": "lenses.csv"}}, "labels": {"path": "labels.csv"}},
            "other": {"labels": {"path": "unused.csv"}},
        }
    },
    "datasets": {
        "subhalo": {"instrument": {"psf": {"kind": "kernel", "kernel": "psf.npy"}}},
        "sky": {
            "kind": "lensfinder",
            "survey": "sky",
            "sources": {"cosmos": {"catalog": "cosmos.fits"}},
            "real_sky": {"path": "graded.npz"},
        },
        "real": {
            "kind": "lensfinder",
            "hosts": {"cutouts": {"path": "hosts", "labels": "hosts.csv", "psf_fwhm_arcsec": {"g": 1.1, "r": 1.0, "z": 0.9}}},
            "sources": {"mix": {"sersic": 1.0}},
        },
        "made-elsewhere": {"kind": "imported", "table": "unused.parquet"},
    },
    "detectors": {
        "theirs": {"kind": "table", "scores": {"subhalo": "theirs.csv", "elsewhere": "unused.csv"}},
        "given": {"channels": "bands", "weights": "given.safetensors"},
        "joined": {"kind": "fusion", "of": ["flux", "theirs"]},
        "lens": {
            "channels": "bands",
            "architecture": "resnet18",
            "pretrained": "start.safetensors",
            "rounds": 2,
            "mining": {"extra": ["real"]},
        },
        "headed": {"channels": "bands", "head": {"of": "lens"}},
        "unused": {"channels": "bands", "weights": "unused.safetensors"},
    },
    "experiments": {
        "subhalo": {"detectors": ["flux", "theirs", "joined"], "comparisons": []},
        "finder": {"question": "Lenses?", "dataset": "sky", "detectors": ["headed", "given"]},
        "not-run": {"question": "Others?", "dataset": "made-elsewhere", "detectors": ["unused"]},
    },
}


def test_a_run_names_what_its_experiments_need_and_nothing_else():
    assert named_files(load(CONFIG, ROOT)) == {
        "datasets.subhalo.instrument.psf.kernel": "psf.npy",
        "datasets.sky.sources.cosmos.catalog": "cosmos.fits",
        "datasets.sky.real_sky.path": "graded.npz",
        "datasets.real.hosts.cutouts.path": "hosts",
        "datasets.real.hosts.cutouts.labels": "hosts.csv",
        "detectors.theirs.scores.subhalo": "theirs.csv",
        "detectors.given.weights": "given.safetensors",
        "detectors.lens.pretrained": "start.safetensors",
        "legacysurvey.surveys.sky.known_lenses.mine.path": "lenses.csv",
        "legacysurvey.surveys.sky.labels.path": "labels.csv",
    }


def test_a_sweep_needs_what_its_experiment_needs():
    sweep = {"experiment": "subhalo", "grid": {"dataset.instrument.noise.peak_snr": [10, 30]}}
    run = load(CONFIG | {"run": ["strength"], "sweeps": {"strength": sweep}}, ROOT)
    assert set(named_files(run)) == {"datasets.subhalo.instrument.psf.kernel", "detectors.theirs.scores.subhalo"}


def test_a_default_run_names_none():
    assert named_files(load({}, ROOT)) == {}
