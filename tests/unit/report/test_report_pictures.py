"""Pictures of stamps: sprite sheets show the stamps, in their places and colours; examples are chosen by id alone."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from darkhaloscope.core.tables import Column, Schema, write_table
from darkhaloscope.evaluation.observers import with_strata
from darkhaloscope.report.context import ReportError, ReportSettings
from darkhaloscope.report.examples import (
    choose_browser_rows,
    collect_browser,
    collect_examples,
    merge_scores,
    read_images,
)
from darkhaloscope.report.pictures import FLUX_RANGE, MASKED, palette, velocity_limit, write_sheets
from unit.report import synthetic

SHARD = Schema(
    "stamps",
    (
        Column("stamp_id", "string", "", ""),
        Column("flux", "float32", "", "", (synthetic.SIZE, synthetic.SIZE)),
        Column("velocity", "float32", "", "", (synthetic.SIZE, synthetic.SIZE)),
        Column("mask", "uint8", "", "", (synthetic.SIZE, synthetic.SIZE)),
    ),
)


def test_sprites_match_the_stamps(tmp_path):
    stamps = synthetic.stamps(11)
    stamps["flux"] = np.clip(stamps["flux"], *FLUX_RANGE)
    limit = velocity_limit(stamps["velocity"], stamps["mask"])
    sheets = write_sheets(tmp_path, **stamps, limit=limit, per_sheet=4, columns=3)
    assert sheets.files == ("stamps-000.png", "stamps-001.png", "stamps-002.png")
    size = synthetic.SIZE
    for i in range(11):
        image = np.asarray(Image.open(tmp_path / sheets.files[i // 4]).convert("RGB"))
        y, x = divmod(i % 4, 3)
        seen = image[y * size : (y + 1) * size, x * 3 * size : (x + 1) * 3 * size][::-1]  # pictures begin at the top, the sky at the bottom
        flux, velocity, mask = np.split(seen, 3, axis=1)
        valid = stamps["mask"][i].astype(bool)
        # Reading colours back: viridis has 64 levels on an asinh scale, velocity 63 between ± the limit.
        level = np.argmin(((flux[..., None, :].astype(int) - palette()[:64].astype(int)) ** 2).sum(-1), axis=-1) / 63
        back = 0.1 * np.sinh(np.arcsinh(-1.0) + level * (np.arcsinh(10.0) - np.arcsinh(-1.0)))
        step = 0.5 / 63 * (np.arcsinh(10.0) - np.arcsinh(-1.0)) * np.hypot(0.1, back)  # half a level, by the stretch's derivative
        assert np.all(np.abs(back - stamps["flux"][i]) <= 1.2 * step + 1e-6)
        speed = (np.argmin(((velocity[..., None, :].astype(int) - palette()[64:127].astype(int)) ** 2).sum(-1), axis=-1) / 31 - 1) * limit
        wanted = np.clip(stamps["velocity"][i], -limit, limit)
        assert np.all(np.abs(speed - wanted)[valid] <= limit / 31)
        assert np.array_equal(np.all(velocity == MASKED, axis=-1), ~valid)
        assert np.array_equal(mask[..., 0] == 255, valid)


def test_no_velocity_colour_is_the_grey_of_masked_pixels():
    colours = palette()
    assert not np.any(np.all(colours[64:127] == MASKED, axis=-1))
    neutral = colours[64 + 31].astype(int)
    assert neutral.max() - neutral.min() <= 3  # zero velocity has no hue


def test_velocity_limit_without_a_single_velocity():
    assert velocity_limit(np.zeros((2, 3, 3)), np.zeros((2, 3, 3))) == 100


def test_examples_depend_on_ids_and_not_on_the_order_of_rows():
    rows = synthetic.parameters(200)
    score = np.random.default_rng(1).integers(0, 5, 200) / 5  # many ties
    first = collect_examples(rows, score, 7)
    order = np.random.default_rng(2).permutation(200)
    assert collect_examples(rows.iloc[order], score[order], 7) == first
    label = dict(zip(rows["stamp_id"], rows["label"], strict=True))
    value = dict(zip(rows["stamp_id"], score, strict=True))
    assert {label[i] for i in first["highest-scored controls"]} == {0}
    assert {label[i] for i in first["lowest-scored positives"]} == {1}
    assert {value[i] for i in first["highest-scored controls"]} == {0.8}
    assert len(set(first["random"])) == 7


def test_merged_scores_are_means_over_seeds_of_the_test_split():
    rows = synthetic.parameters(50)
    a, b = synthetic.scores(rows, 1.0, 1), synthetic.scores(rows, 1.0, 2)
    more = synthetic.parameters(10, 8).assign(split="validation", stamp_id=[f"v{i}" for i in range(10)])
    b = pa.concat_tables([synthetic.scores(more, 0.0, 3), b], promote_options="permissive").take(np.random.default_rng(0).permutation(60))
    a = pa.concat_tables([a, synthetic.scores(more, 0.0, 3)], promote_options="permissive")
    merged = merge_scores({("flux", 1): a, ("flux", 2): b}).set_index("stamp_id")
    assert len(merged) == 50
    both = [t.to_pandas().set_index("stamp_id")["score"] for t in (a, b)]
    assert np.allclose(merged["score_flux"], sum(both).div(2).loc[merged.index])


def test_networks_scored_on_other_stamps_are_refused():
    rows = synthetic.parameters(20)
    with pytest.raises(ReportError, match="network both, seed 1 was not scored on the same stamps"):
        merge_scores({("flux", 1): synthetic.scores(rows, 1, 1), ("both", 1): synthetic.scores(rows.head(18), 1, 1)})


def test_the_browser_samples_tails_and_reads_just_their_images(tmp_path):
    rows = synthetic.parameters(120)
    images = synthetic.stamps(120)
    shards = []
    for k in range(3):
        part = slice(40 * k, 40 * (k + 1))
        shards.append(tmp_path / f"{k}.parquet")
        table = SHARD.table({"stamp_id": rows["stamp_id"][part].tolist(), **{name: a[part] for name, a in images.items()}})
        write_table(shards[-1], SHARD, table, row_group=16)
    scores = {("both", 1): synthetic.scores(rows, 1.0, 1)}
    browser = collect_browser(scores, shards, "both", ReportSettings(browser_stamps=40))
    assert len(browser.rows) == 40 and browser.total == 120
    value = scores["both", 1].to_pandas()
    worst = collect_examples(value, value["score"], 5)
    assert {*worst["highest-scored controls"], *worst["lowest-scored positives"]} <= set(browser.rows["stamp_id"])
    place = {stamp: i for i, stamp in enumerate(rows["stamp_id"])}
    at = [place[i] for i in browser.rows["stamp_id"]]
    for name in ("flux", "velocity", "mask"):
        assert np.array_equal(getattr(browser, name), images[name][at])
    assert browser.rows["score_both"].is_monotonic_decreasing


def test_a_small_test_split_is_shown_whole():
    rows = merge_scores({("both", 1): synthetic.scores(synthetic.parameters(30), 1.0, 1)})
    assert len(choose_browser_rows(rows, "both", ReportSettings(browser_stamps=30))) == 30


def test_a_scored_stamp_in_no_shard_is_named(tmp_path):
    table = SHARD.table({"stamp_id": ["a"], **synthetic.stamps(1)})
    write_table(tmp_path / "0.parquet", SHARD, table)
    with pytest.raises(ReportError, match="1 of 2 scored stamps are in none of the shards"):
        read_images([tmp_path / "0.parquet"], ["a", "b"])


def test_observers_take_their_mass_bins_from_the_stamps():
    observers = pd.DataFrame({"stamp_id": ["subhalo-test-000003"], "marginal_d_prime_flux": [1.0]})
    rows = synthetic.parameters(5)
    assert with_strata(observers, rows)["mass_bin"].item() == rows["mass_bin"][3]
