"""A ranked list of candidates: the mean of seeds, best first, with the stamps' own pictures."""

import base64
import io
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from darkhaloscope.report.candidates import candidate_page, rank_candidates, rank_parents, search_page, three_colours
from unit.learning.band_shards import band_columns, write_band_shards
from unit.report import chromium


def scores(seed, ids):
    rng = np.random.default_rng(seed)
    n = len(ids)
    return pa.table(
        {
            "stamp_id": ids,
            "split": ["test"] * (n - 1) + ["validation"],
            "score": (s := rng.random(n)),
            "calibrated": s / 2,
            "label": np.arange(n) % 2,
            "ra": np.linspace(10, 11, n),
            "dec": np.linspace(-1, 1, n),
            "contaminant_class": pa.array(["ring galaxy", None] * (n // 2)),
            "theta_e_arcsec": np.arange(n) % 2 * 1.5,
            "arc_snr": np.arange(n) % 2 * 7.0,
        }
    )


def test_candidates_are_ranked_by_the_mean_of_the_seeds(tmp_path):
    columns = band_columns(10)
    ids = columns["stamp_id"].tolist()
    tables = {"1": scores(1, ids), "2": scores(2, ids).take(np.arange(10)[::-1])}
    tables["2"] = scores(2, ids)
    ranked = rank_candidates(tables)
    mean = (tables["1"]["score"].to_numpy() + tables["2"]["score"].to_numpy())[:9] / 2
    assert ranked["stamp_id"].tolist() == [ids[k] for k in np.argsort(-mean)]
    assert np.allclose(ranked["score"], np.sort(mean)[::-1]) and np.allclose(ranked["calibrated"], ranked["score"] / 2)
    assert ranked["rank"].tolist() == list(range(1, 10))
    page = candidate_page(
        ranked, write_band_shards(tmp_path, columns, [0, 4, 10]), dataset="sky", network="finder", seeds=2, table="finder.csv"
    )
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(pictures) == 9 and "2 networks finder" in page and 'href="finder.csv"' in page
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    place = ids.index(ranked["stamp_id"][0])
    assert np.array_equal(first, three_colours(columns["image"][place]))
    assert "control: ring galaxy" in page and "injected, θ_E 1.50″, arc S/N 7.0" in page


@pytest.mark.parametrize(("band", "channel"), [(0, 2), (1, 1), (2, 0)])
def test_g_r_z_are_blue_green_red_and_north_is_up(band, channel):
    image = np.zeros((3, 8, 8))
    image[band, 1, 2] = 1.0  # row 1 is in the south
    colours = three_colours(image)
    bright = colours[6, 2]
    assert bright.argmax() == channel and bright[channel] > 2 * np.delete(bright, channel).max()
    assert colours[1, 2].max() < 40  # an empty pixel is the dark grey of the offset


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium: install the package chromium")
def test_ticks_outlive_a_reload_and_are_exported_with_positions(tmp_path):
    n = 6
    names = [f"b-{k}" for k in range(n)]
    frame = pd.DataFrame(
        {
            "stamp_id": names,
            "object_id": np.arange(n),
            "ra": 150 + np.arange(n) / 100,
            "dec": -np.arange(n) / 10,
            "brickname": "b",
            **{f"mag_{b}": 20.0 for b in "grz"},
            "contaminant_class": "",
            "known_lens": np.arange(n) == 2,
            "split": ["test", "train"] * 3,
            "like_training": True,
            "ok": True,
            "reason": "",
            "score_net": np.linspace(0.9, 0.1, n),
            "calibrated_net": np.linspace(0.8, 0.1, n),
        }
    )
    known = pa.table({"object_id": [2], "name": ['A "lens", known']})
    ranked = rank_parents([pa.Table.from_pandas(frame)], known, "net")
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 16, 16))
    pixels = np.random.default_rng(1).random((n, 3, 16, 16)).astype(np.float32)
    column = pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(pixels.ravel(), 768).cast(kind.storage_type))
    pq.write_table(pa.table({"stamp_id": names, "image": column}), tmp_path / "best.parquet")
    page = search_page(ranked, [tmp_path / "best.parquet"], shown=5, survey="s", mock=True, network="net", seeds=3, table="net.csv")
    (tmp_path / "net.html").write_text(page, encoding="utf-8")
    (tmp_path / "downloads").mkdir()
    with chromium.Page(1280, 800, downloads=tmp_path / "downloads") as browser:
        browser.open(tmp_path / "net.html")
        press = "document.querySelectorAll('.card')[{}].querySelector('[data-tick={}]').click()"
        for card, word in ((0, "interesting"), (2, "interesting"), (3, "not"), (4, "not"), (4, "not")):  # the last one is taken back
            browser.run(press.format(card, word))
        said = "document.querySelector('[data-part=said]').textContent"
        assert browser.run(said) == "2 interesting, 1 not, 2 open"
        browser.open(tmp_path / "net.html")
        assert browser.run(said) == "2 interesting, 1 not, 2 open"
        browser.run(
            "document.querySelector('[data-part=show]').value = 'open'; document.querySelector('[data-part=show]').dispatchEvent(new Event('change'))"
        )
        assert json.loads(
            browser.run("JSON.stringify([...document.querySelectorAll('.card')].filter(c => !c.hidden).map(c => c.dataset.id))")
        ) == ["b-1", "b-4"]
        browser.run("document.querySelector('[data-part=export]').click()")
        written = tmp_path / "downloads/s-ranked-by-net-ticks.csv"
        browser.wait(written.exists, "the export")
        assert browser.errors == []
    exported = pd.read_csv(written)
    assert exported["id"].tolist() == ["b-0", "b-2", "b-3"] and exported["tick"].tolist() == ["interesting", "interesting", "not"]
    assert exported["ra"].tolist() == pytest.approx([150.0, 150.02, 150.03]) and exported["dec"].tolist() == pytest.approx([0, -0.2, -0.3])
    assert exported["known"].tolist()[1] == 'A "lens", known' and exported["rank"].tolist() == [1, 3, 4]
