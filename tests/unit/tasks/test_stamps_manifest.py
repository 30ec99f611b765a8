"""The manifest: balance, splits, distributions, independence of rows, and errors in words."""

import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM
from lenstronomy.Cosmo.lens_cosmo import LensCosmo
from scipy import stats

from darkhaloscope.config.base import Distribution
from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.config.subhalo import Psf, SplitFractions
from darkhaloscope.core.random import quantile
from darkhaloscope.stamps.manifest import NUMBERS_PER_SPLIT, ManifestError
from darkhaloscope.tasks.subhalo.manifest import assign_splits, build_manifest, psf_fwhm_arcsec
from darkhaloscope.tasks.subhalo.schema import MANIFEST

COSMOLOGY = Cosmology()


def frame(dataset, bank=None):
    table = build_manifest("few", dataset, bank, COSMOLOGY)
    MANIFEST.check(table.schema, "test")
    return table.to_pandas()


def test_each_split_is_balanced_and_numbered(make_dataset, make_bank, mixed):
    rows = frame(make_dataset(size={"train": 60, "validation": 20, "test": 40}, sources=mixed), make_bank(8))
    assert rows.groupby("split")["label"].agg(["size", "sum"]).to_dict() == {
        "size": {"train": 60, "validation": 20, "test": 40},
        "sum": {"train": 30, "validation": 10, "test": 20},
    }
    assert rows["split"].drop_duplicates().tolist() == ["train", "validation", "test"]
    assert rows["stamp_id"].is_unique and rows["number"].is_monotonic_increasing
    assert (rows["number"] // NUMBERS_PER_SPLIT == rows["split"].map({"train": 0, "validation": 1, "test": 2})).all()


def test_a_row_does_not_depend_on_how_many_there_are(make_dataset, make_bank, mixed):
    small = frame(make_dataset(size={"train": 10, "validation": 4, "test": 6}, sources=mixed), make_bank(8))
    large = frame(make_dataset(size={"train": 40, "validation": 8, "test": 6}, sources=mixed), make_bank(8))
    both = large[large["stamp_id"].isin(small["stamp_id"])].reset_index(drop=True)
    assert both.equals(small)


def test_a_changed_parameter_changes_no_other_draw(make_dataset):
    # With the lens in the stamp's middle: elsewhere the shear about the lens moves the source in the lens' frame.
    before = frame(make_dataset(lens={"centre_offset_arcsec": 0.0}))
    after = frame(make_dataset(lens={"centre_offset_arcsec": 0.0, "shear": {"uniform": [0.1, 0.2]}}))
    different = [c for c in before if not before[c].equals(after[c])]
    assert different == ["shear"]


def test_another_seed_draws_anew(make_dataset):
    first, second = frame(make_dataset()), frame(make_dataset(seed=2))
    assert not np.isin(first["theta_e_arcsec"], second["theta_e_arcsec"]).any()


def test_splits_share_no_galaxy(make_dataset, make_bank, mixed):
    # Two observations of each of 10 galaxies.
    bank = make_bank(20, physical_id=[f"1-{i // 2}" for i in range(20)])
    rows = frame(make_dataset(size={"train": 200, "validation": 100, "test": 100}, sources=mixed), bank).dropna(subset="physical_id")
    groups = rows.groupby("split")["physical_id"].agg(set)
    # 7, 1.5 and 1.5 of 10.
    assert sorted(len(g) for g in groups) == [1, 2, 7] and len(groups["train"]) == 7
    assert not (groups["train"] & groups["test"] or groups["train"] & groups["validation"] or groups["validation"] & groups["test"])
    assert rows["galaxy_id"].nunique() == 20


def test_galaxies_go_to_the_same_split_whatever_the_seed(make_dataset, make_bank, mixed):
    sizes = {"train": 100, "validation": 40, "test": 40}
    one = frame(make_dataset(size=sizes, sources=mixed), make_bank(9)).dropna(subset="physical_id")
    two = frame(make_dataset(size=sizes, sources=mixed, seed=7), make_bank(9)).dropna(subset="physical_id")
    assert dict(zip(one["physical_id"], one["split"], strict=True)) == dict(zip(two["physical_id"], two["split"], strict=True))


@pytest.mark.parametrize("count", [3, 4, 9])
def test_two_datasets_of_one_bank_never_share_galaxies_across_splits(make_dataset, make_bank, mixed, count):
    full = frame(make_dataset(size={"train": 60, "validation": 40, "test": 40}, sources=mixed), make_bank(count))
    only_test = frame(make_dataset(size={"train": 0, "validation": 0, "test": 60}, sources=mixed, seed=3), make_bank(count))
    trained = set(full.loc[full["split"] != "test", "physical_id"].dropna())
    assert trained and not trained & set(only_test["physical_id"].dropna())


def test_assigned_galaxies_go_where_they_are_told():
    names = [f"{8000 + i}-12701" for i in range(6)]
    ids = ["1-0", "1-0", "1-1", "1-2", "1-3", "1-4"]
    splits = SplitFractions(assigned={"test": (names[0],)}, tolerance=0.5)
    out = assign_splits(ids, names, splits)
    assert out["1-0"] == "test" and set(out) == set(ids)
    with pytest.raises(ManifestError, match=r"1-0 into test and, as 8001-12701, into train"):
        assign_splits(ids, names, SplitFractions(assigned={"test": (names[0],), "train": (names[1],)}))
    with pytest.raises(ManifestError, match=r"9999-12701 into test, but the bank .*use_rejected"):
        assign_splits(ids, names, SplitFractions(assigned={"test": ("9999-12701",)}))


def test_one_assigned_galaxy_is_enough_for_a_test_only_dataset(make_dataset, make_bank):
    bank = make_bank(1, galaxy_id=["7815-3702"])
    dataset = make_dataset(
        size={"train": 0, "validation": 0, "test": 10},
        splits={"assigned": {"test": ["7815-3702"]}},
        sources={"mix": {"manga": 1.0}, "sample": "real"},
    )
    rows = frame(dataset, bank)
    assert set(rows["galaxy_id"]) == {"7815-3702"} and set(rows["split"]) == {"test"}


def test_wrong_shares_are_refused():
    ids = [f"1-{i}" for i in range(3)]
    with pytest.raises(ManifestError, match=r"train got 0\.33 of the 3 galaxies .* asked were 0\.70"):
        assign_splits(ids, ids, SplitFractions(tolerance=0.05))


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        (lambda make: None, "asks for manga and hybrid sources, but there is no bank"),
        (lambda make: make(4).slice(0, 0), "the bank of sources is empty"),
        (lambda make: make(1), "split train got 1.00|split (validation|test) has 4 stamps but no galaxy"),
        (lambda make: make(4, pixel_scale_kpc=[0.6, np.nan, 0.6, 0.6]), "`pixel_scale_kpc` is not finite for 8001-12701"),
        (lambda make: make(4, v_peak_kms=[180.0, 180.0, 0.0, 180.0]), "positive `v_peak_kms`, .* 8002-12701"),
    ],
)
def test_a_bank_that_will_not_do_is_refused(make_dataset, make_bank, mixed, bank, message):
    dataset = make_dataset(size={"train": 4, "validation": 4, "test": 4}, sources=mixed, splits={"tolerance": 1.0})
    with pytest.raises(ManifestError, match=message):
        build_manifest("few", dataset, bank(make_bank), COSMOLOGY)


@pytest.mark.parametrize(
    ("value", "law"),
    [
        ({"uniform": [2, 5]}, stats.uniform(2, 3)),
        ({"log_uniform": [10, 30]}, stats.loguniform(10, 30)),
        ({"normal": [2.0, 0.1, 1.9, 2.3]}, stats.truncnorm(-1, 3, 2.0, 0.1)),
        # Bounds far from the mean, on either side: 3 to 4 is its tail beyond 10 σ, most of it near 3.
        ({"normal": [2.0, 0.1, 3.0, 4.0]}, stats.truncnorm(10, 20, 2.0, 0.1)),
        ({"normal": [2.0, 0.1, 0.5, 1.1]}, stats.truncnorm(-15, -9, 2.0, 0.1)),
    ],
)
def test_distributions_are_scipys(value, law):
    u = np.linspace(0.001, 0.999, 500)
    assert quantile(Distribution.model_validate(value), u) == pytest.approx(law.ppf(u), rel=1e-9)


def test_choices_and_fixed_values():
    u = np.array([0.0, 0.3, 0.34, 0.99999])
    assert quantile(Distribution(choice=(4, 6, 8)), u).tolist() == [4, 4, 6, 8]
    assert quantile(Distribution(fixed=3.0), u).tolist() == [3, 3, 3, 3]


def test_columns_belong_to_their_kind(make_dataset, make_bank, mixed):
    rows = frame(make_dataset(size={"train": 400}, sources=mixed), make_bank(8))
    manga, hybrid, disk = (rows[rows["source_kind"] == k] for k in ("manga", "hybrid", "disk"))
    assert manga.filter(like="disk_").isna().all(axis=None)
    assert disk["galaxy_id"].isna().all() and (disk["src_scale"] == 1).all() and not disk["src_flip"].any()
    assert (hybrid["disk_v_max_kms"] == 180).all() and hybrid["disk_inclination_rad"].to_numpy() == pytest.approx(0.9)
    assert 0.3 < manga["src_flip"].mean() < 0.7
    sis, nfw, tnfw = (rows[rows["subhalo_profile"] == k] for k in ("sis", "nfw", "tnfw"))
    assert sis["log10_mass_msun"].isna().all() and (sis["mass_bin"] == "sis").all() and sis["subhalo_theta_e_arcsec"].notna().all()
    assert nfw["subhalo_rt_arcsec"].isna().all() and (tnfw["subhalo_rt_arcsec"] / tnfw["subhalo_rs_arcsec"]).between(3, 10).all()
    assert set(nfw["mass_bin"]) == {"9-9.5", "9.5-10"} and (nfw["log10_mass_msun"] < 9.5).eq(nfw["mass_bin"] == "9-9.5").all()


def test_source_kinds_come_in_the_asked_shares(make_dataset, make_bank, mixed):
    rows = frame(make_dataset(size={"train": 4000}, sources=mixed), make_bank(8))
    shares = rows["source_kind"].value_counts(normalize=True)
    # Five standard deviations of a share of 0.4 among 4,000.
    assert shares["manga"] == pytest.approx(0.4, abs=0.04) and shares["hybrid"] == pytest.approx(0.2, abs=0.04)


def test_halo_angles_are_lenstronomys(make_dataset):
    row = frame(make_dataset(subhalo={"profiles": {"nfw": 1.0}})).iloc[0]
    cosmo = LensCosmo(row["z_lens"], row["z_source"], cosmo=FlatLambdaCDM(H0=70, Om0=0.3))
    r_s, alpha = cosmo.nfw_physical2angle(10 ** row["log10_mass_msun"], row["concentration"])
    # lenstronomy's Σ_cr takes an older solar mass and G: 2.8e-4.
    assert (row["subhalo_rs_arcsec"], row["subhalo_alpha_rs_arcsec"]) == pytest.approx((r_s, alpha), rel=4e-4)


def test_width_of_a_pixel_kernel(tmp_path):
    axis = np.arange(-20, 21) * 0.1
    kernel = np.exp(-(axis[:, None] ** 2 + axis[None] ** 2) / (2 * 0.3**2))
    np.save(tmp_path / "psf.npy", kernel)
    # The noise-equivalent area of a sampled Gaussian is 4πσ².
    assert psf_fwhm_arcsec(Psf(kind="kernel", kernel=str(tmp_path / "psf.npy")), 0.1) == pytest.approx(0.3 * 2.3548, rel=1e-4)
    assert psf_fwhm_arcsec(Psf(kind="none"), 0.1) == 0


def test_no_psf_means_infinitely_resolved(make_dataset):
    rows = frame(make_dataset(instrument={"psf": {"kind": "none"}}))
    assert np.isinf(rows["theta_over_psf"]).all() and (rows["psf_fwhm_arcsec"] == 0).all()
