"""Gates: a good dataset passes, and each planted fault is caught by name."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from darkhaloscope.config.cosmology import Cosmology
from darkhaloscope.core.tables import TableError, images, write_table
from darkhaloscope.report.dataset_page import dataset_page
from darkhaloscope.stamps.gates import QualityError, class_differences, require
from darkhaloscope.tasks.subhalo.manifest import build_manifest
from darkhaloscope.tasks.subhalo.render import render_rows
from darkhaloscope.tasks.subhalo.schema import stamp_images, stamp_schema
from unit.tasks.seeing import measure, see_shards

SIZES = {"train": 240, "validation": 80, "test": 80}
PICTURES = [c.name for c in stamp_images(16)]


@pytest.fixture(scope="module")
def dataset(make_dataset, mixed):
    return make_dataset(
        size=SIZES,
        sources=mixed,
        splits={"tolerance": 0.15},
        instrument={"stamp_size": 16, "pixel_scale_arcsec": 0.24, "psf": {"fwhm_arcsec": 0.3}},
        rendering={"accuracy": 0.05, "batch_size": 16},
    )


@pytest.fixture(scope="module")
def good(dataset, make_bank):
    """Columns of good stamps, images as arrays."""
    bank = make_bank(12)
    table = render_rows(build_manifest("few", dataset, bank, Cosmology()), dataset, bank, Cosmology())
    return {name: images(table, name) if name in PICTURES else np.array(table.column(name).to_pylist()) for name in table.column_names}


@pytest.fixture
def stamps(good):
    """Good stamps to be spoiled."""
    return {name: values.copy() for name, values in good.items()}


@pytest.fixture
def write(tmp_path):
    """Function that writes stamps as two shards per split."""

    def run(stamps):
        shards = {}
        for split in SIZES:
            rows = np.flatnonzero(stamps["split"] == split)
            paths = [tmp_path / f"{split}-{k}.parquet" for k in (0, 1)]
            for path, some in zip(paths, np.array_split(rows, 2), strict=True):
                write_table(path, stamp_schema(16), stamp_schema(16).table({k: _column(v[some], k) for k, v in stamps.items()}))
            shards[split] = paths
        return shards

    return run


def check_stamps(shards, dataset):
    """Return what rule check_stamps writes, or raise as it does."""
    quality = measured(shards, dataset)
    require(quality.gates)
    return quality


def measured(shards, dataset):
    return measure(see_shards(shards, dataset), shards, dataset)


def _column(values, name):
    return values if name in PICTURES else pa.array(values.tolist())


def test_good_stamps_pass_and_are_described(dataset, stamps, write):
    quality = check_stamps(write(stamps), dataset)
    report = quality.plain()
    assert all(g["passed"] for g in report["gates"]) and len(report["gates"]) == 9
    assert report["splits"]["train"]["stamps"] == 240 and report["splits"]["train"]["positives"] == 120
    assert sum(report["splits"]["test"]["source_kinds"].values()) == 80
    rows = pd.DataFrame(report["distributions"]).set_index(["split", "label", "column"])
    mine = stamps["theta_e_arcsec"][(stamps["split"] == "test") & (stamps["label"] == 1)]
    assert rows.loc[("test", 1, "theta_e_arcsec"), ["mean", "p95"]].tolist() == pytest.approx([mine.mean(), np.percentile(mine, 95)])
    text = json.dumps(report, allow_nan=False)
    # Flux and velocity of the stamps to look at, on a page as the lens finder's datasets have.
    assert [p.images.shape[1:] for p in quality.pictures] == [(2, 16, 16)] * 4
    page = dataset_page("few", dataset, json.loads(text), [], quality.pictures)
    assert page.count("<figure>") == 48 and "FAIL" not in page and "ideal d′, both" in page and "Sky regions" not in page


def spoil_nan(s):
    s["flux"][3, 2, 2] = np.nan


def spoil_measure(s):
    s["arc_snr"][5] = np.nan


def spoil_mask(s):
    s["velocity"][3][s["mask"][3] == 0] = 7.0


def spoil_pixels(s):
    for name in PICTURES:
        s[name][300] = s[name][4]


def spoil_id(s):
    s["stamp_id"][7] = s["stamp_id"][6]


def spoil_balance(s):
    s["label"][0] = 0


def spoil_split(s):
    s["physical_id"] = np.where(
        (s["split"] == "test") & (s["source_kind"] == "manga"), s["physical_id"][s["source_kind"] == "manga"][0], s["physical_id"]
    )


def spoil_brightness(s):
    s["peak_snr"] = np.where(s["label"] == 1, s["peak_snr"] * 1.6, s["peak_snr"])


def spoil_kind(s):
    turn = (s["label"] == 1) & (s["source_kind"] == "hybrid")
    s["source_kind"] = np.where(turn, "disk", s["source_kind"])


def spoil_masks_of_positives(s):
    for row in np.flatnonzero(s["label"] == 1):
        for name in ("mask", "velocity", "velocity_sigma"):
            s[name][row][:, :8] = 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nan, "finite: .* train 1"),
        (spoil_measure, "finite: .* arc_snr 1"),
        (spoil_mask, "masks: .* train 1"),
        (spoil_pixels, "duplicates: .* image 1"),
        (spoil_id, "duplicates: .* stamp_id 1"),
        (spoil_balance, r"balance: .* train 0\.496"),
        (spoil_split, "leaks: .*1-[0-9]+ in train and test"),
        (spoil_brightness, r"class separability: .* peak_snr in train \(KS"),
        (spoil_kind, r"class separability: .* source_kind in train \(χ²"),
        (spoil_masks_of_positives, "class separability: .* mask_offset_pixels"),
    ],
)
def test_planted_faults_are_caught(dataset, stamps, write, spoil, message):
    spoil(stamps)
    with pytest.raises(QualityError, match=message):
        check_stamps(write(stamps), dataset)


def test_missing_stamps_are_counted(dataset, stamps, write):
    shards = write(stamps)
    shards["train"] = shards["train"][:1]
    with pytest.raises(QualityError, match="counts: asked train 240, .* found train 120"):
        check_stamps(shards, dataset)


def test_swapped_split_fractions_are_caught(dataset, stamps, write, make_dataset, mixed):
    other = make_dataset(**dataset.plain() | {"splits": {"fractions": {"train": 0.2, "validation": 0.2, "test": 0.6}, "tolerance": 0.15}})
    gate = next(g for g in measured(write(stamps), other).gates if g.name == "split fractions")
    assert not gate.passed and gate.found == "train 0.667, validation 0.167, test 0.167"


def test_what_was_not_seen_of_a_shard_is_named(dataset, stamps, write):
    shards = write(stamps)
    seen = see_shards(shards, dataset)
    whole = seen["test"][1].read_bytes()
    seen["test"][1].write_bytes(whole[:-300])
    with pytest.raises(TableError, match=r"test-1\.seen: not a readable Parquet file .* delete it and run again"):
        measure(seen, shards, dataset)
    # Damage in the middle shows when a column is read.
    seen["test"][1].write_bytes(whole[:1000] + bytes(2000) + whole[3000:])
    with pytest.raises(TableError, match=r"test-1\.seen: not a readable Parquet file"):
        measure(seen, shards, dataset)
    seen["test"][1].unlink()
    with pytest.raises(TableError, match=r"test-1\.seen: this seen stamps table does not exist"):
        measure(seen, shards, dataset)


def test_a_table_of_another_schema_is_named(dataset, stamps, write):
    shards = write(stamps)
    seen = see_shards(shards, dataset)
    with pytest.raises(TableError, match=r"train-0\.parquet: column `stamp_id` .* is string, expected uint64; make the file again"):
        measure({**seen, "train": shards["train"]}, shards, dataset)


def test_equal_classes_give_uniform_p_values():
    rng = np.random.default_rng(0)
    p, categories = [], []
    for _ in range(150):
        table = pd.DataFrame({"label": np.arange(600) % 2, "x": rng.normal(size=600), "kind": rng.choice(["a", "b", "c"], 600)})
        found = class_differences(table, ["x", "kind"]).set_index("column")["p_value"]
        p.append(found["x"])
        categories.append(found["kind"])
    # The asymptotic KS law is slightly conservative: never more alarms than stated, within 3σ of a binomial.
    for values in (p, categories):
        assert np.mean(np.array(values) < 0.1) < 0.1 + 3 * np.sqrt(0.09 / 150)


def test_rare_categories_are_merged():
    table = pd.DataFrame({"label": [0, 1] * 100, "kind": ["a", "a"] * 98 + ["b", "c", "d", "e"]})
    assert class_differences(table, ["kind"]).empty or class_differences(table, ["kind"])["p_value"].iloc[0] > 0.01


def test_a_handful_of_stamps_raise_no_alarm_by_chance():
    """All of 4 positives above all of 4 controls is one of 70 orders, and by the asymptotic law impossible."""
    table = pd.DataFrame({"label": [0, 0, 0, 0, 1, 1, 1, 1], "x": np.arange(8.0)})
    assert class_differences(table, ["x"])["p_value"].item() == pytest.approx(2 / 70)
