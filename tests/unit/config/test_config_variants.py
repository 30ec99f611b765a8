"""Variants of a dataset for robustness: what they change, what they share, errors in words."""

from pathlib import Path

import pytest
import yaml

from darkhaloscope.config.run import Run, read, validate
from darkhaloscope.config.sweeps import expand
from darkhaloscope.config.variants import with_variants
from darkhaloscope.config.wording import ConfigError
from darkhaloscope.config.yaml_files import merge
from rule_files import rule_files, wildcards

ROOT = Path(__file__).parents[3]


def varied(robustness, **more):
    values = {"experiments": {"subhalo": {"robustness": robustness}}, **more}
    return with_variants(validate(merge(Run().plain(), values)))


def test_a_variant_is_its_dataset_with_some_keys_changed_and_test_stamps_alone():
    run = varied({"psf": {"instrument.psf.fwhm_arcsec": 0.2}, "few-disks": {"sources.mix": {"disk": 1.0}, "size.test": 600}})
    base, psf, disks = (run.datasets[name] for name in ("subhalo", "subhalo+psf", "subhalo+few-disks"))
    assert psf.instrument.psf.fwhm_arcsec == 0.2 and psf.instrument.psf.kind == base.instrument.psf.kind
    assert disks.sources.mix == {"disk": 1.0} and disks.size.test == 600 and psf.size.test == base.size.test
    for made in (psf, disks):
        assert (made.size.train, made.size.validation) == (0, 0)
        assert (made.seed, made.splits, made.lens) == (base.seed, base.splits, base.lens)
    assert set(run.datasets) - set(Run().datasets) == {"subhalo+psf", "subhalo+few-disks"}


def test_a_distribution_is_replaced_whole_and_a_section_is_merged():
    run = varied({"v": {"instrument.noise.peak_snr": {"uniform": [5, 9]}, "sources.disk": {"v_max_kms": 150}}})
    made = run.datasets["subhalo+v"]
    assert made.instrument.noise.peak_snr.uniform == (5, 9) and made.instrument.noise.peak_snr.log_uniform is None
    assert made.sources.disk.v_max_kms.fixed == 150 and made.sources.disk.n_knots == run.datasets["subhalo"].sources.disk.n_knots


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ({"instrument.psf.fwhm": 0.2}, ["experiments.subhalo.robustness.v", "unknown key `instrument.psf.fwhm`", "nearest: `fwhm_arcsec`"]),
        ({"instrumnt.psf.fwhm_arcsec": 0.2}, ["unknown key `instrumnt`", "nearest: `instrument`"]),
        ({"instrument.psf.fwhm_arcsec": 0.01}, ["cannot sample a PSF"]),
        ({"seed": 2}, ["sets `seed`", "must stay that of subhalo", "twin"]),
        ({"instrument.stamp_size": 64}, ["sets `instrument.stamp_size`", "one size"]),
        ({"splits": {"fractions": {"train": 0.5, "test": 0.5}}}, ["sets `splits`", "training stamps"]),
        ({"size.test": 0}, ["at least one stamp"]),
        ({}, ["changes nothing"]),
    ],
)
def test_wrong_variants_are_refused_in_words(overlay, words):
    with pytest.raises(ConfigError) as error:
        varied({"v": overlay})
    for word in words:
        assert word in str(error.value)


def test_two_variants_of_one_name_must_be_the_same():
    again = {"question": "?", "dataset": "subhalo", "detectors": ["flux"], "robustness": {"v": {"instrument.velocity_block": 2}}}
    run = varied(
        {"v": {"instrument.velocity_block": 2}},
        experiments={"subhalo": {"robustness": {"v": {"instrument.velocity_block": 2}}}, "again": again},
    )
    assert run.datasets["subhalo+v"].instrument.velocity_block == 2
    with pytest.raises(ConfigError, match="another dataset of that name differs"):
        varied({}, experiments={"subhalo": {"robustness": {"v": {"instrument.velocity_block": 4}}}, "again": again})


def test_a_sweeps_points_have_variants_of_their_own():
    values = {
        "experiments": {"subhalo": {"robustness": {"v": {"instrument.velocity_block": 2}}}},
        "run": ["s"],
        "sweeps": {"s": {"experiment": "subhalo", "grid": {"dataset.subhalo.theta_e_factor": [0.03, 0.1]}}},
    }
    run = with_variants(expand(validate(merge(Run().plain(), values)))[0])
    made = run.datasets["subhalo+theta_e_factor=0.1+v"]
    assert made.instrument.velocity_block == 2 and made.subhalo.theta_e_factor.fixed == 0.1


def test_a_lens_finders_dataset_has_variants_and_an_imported_one_none():
    experiment = {"question": "?", "dataset": "lensfinder", "detectors": ["lens"], "robustness": {"wings": {"camera.beta": 2.5}}}
    networks = {"lens": {"channels": "bands", "architecture": "slim"}}
    cosmos = {"lensfinder": {"sources": {"mix": {"sersic": 1.0}}}}
    run, _ = read({"experiments": {"finder": experiment}, "detectors": networks, "datasets": cosmos}, ROOT)
    assert run.datasets["lensfinder+wings"].camera.beta == 2.5 and run.datasets["lensfinder+wings"].shards("train") == 0
    old = {"old": {"kind": "imported", "table": "old.parquet"}}
    with pytest.raises(ConfigError, match="made elsewhere"):
        read({"experiments": {"finder": {**experiment, "dataset": "old"}}, "detectors": networks, "datasets": old}, ROOT)


def test_the_reference_runs_variants_are_valid():
    rules = rule_files(yaml.safe_load((ROOT / "config/subhalo-reference.yaml").read_text()))
    names = rules.settings.experiments["strong"].variants
    assert {"psf", "noise", "coarse-velocity", "disks", "no-multipoles", "same-flux"} <= set(names)
    scores = rules.robustness_scores(wildcards(experiment="strong"))
    assert all(any(path.endswith(f"/{dataset}.parquet") for path in scores) for dataset in names.values())
    # What an evaluation reads stays what it was: variants are not among the scored datasets.
    assert rules.scored_datasets("strong") == ["strong"] and rules.robustness("mask-again") and not rules.robustness("effort")
