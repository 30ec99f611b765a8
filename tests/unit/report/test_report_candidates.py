"""A ranked list of candidates: the mean of seeds, best first, with the stamps' own pictures."""

import base64
import io
import re

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from darkhaloscope.report.candidates import candidate_page, rank_candidates, three_colours
from unit.learning.band_shards import band_columns, write_band_shards


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
