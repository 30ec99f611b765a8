"""The inspection page: complete, self-contained, and safe against what a header may hold."""

import base64
import re
import struct

import numpy as np
import pytest

from darkhaloscope.config.manga import Quality
from darkhaloscope.ifu.inspection import inspection_page
from darkhaloscope.ifu.manga.maps import read_maps
from darkhaloscope.ifu.quality import measure_quality


@pytest.fixture
def page(maps_hdus, tmp_path):
    def make(**arguments):
        path = tmp_path / "maps.fits.gz"
        hdus = maps_hdus(**arguments)
        hdus.writeto(path, overwrite=True)
        maps = read_maps(path, Quality())
        return inspection_page(path, maps, measure_quality(maps, Quality())), hdus

    return make


def test_page_has_all_extensions_channels_cards_and_bits(page):
    html, hdus = page()
    for hdu in hdus:
        assert f'<td class="c">{hdu.name}</td>' in html
    for index, name in ((0, "OII-3727"), (23, "Ha-6564"), (34, "Peps-9548")):
        assert f"{index} {name}" in html
    for card in ("SCINPVEL", "ECOOELL", "DRP3QUAL"):
        assert f'<td class="c">{card}</td>' in html
    for bit in ("NOCOV", "UNRELIABLE", "DONOTUSE"):
        assert f">{bit}</th>" in html


def test_mask_bits_are_counted_in_the_line(page):
    html, hdus = page()
    mask = hdus["EMLINE_GFLUX_MASK"].data[23]
    row = re.search(r'<td class="c">EMLINE_GFLUX_MASK</td><td>channel Ha-6564.*?</tr>', html, re.DOTALL)[0]
    numbers = [int(n) for n in re.findall(r'<td class="n">(\d+)</td>', row)]
    assert numbers[:2] == [mask.size, int((mask == 0).sum())]
    assert numbers[2] == numbers[-1] == int((mask != 0).sum())  # NOCOV and DONOTUSE
    assert not any(numbers[3:-1])


def test_page_needs_nothing_else(page):
    html, _ = page()
    assert re.findall(r"\b(?:src|href|url)\s*[=(]\s*[\"']?(\w+:?)", html) == ["data:"]
    png = base64.b64decode(re.search(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)[1])
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">II", png[16:24])[0] > 1000


def test_page_says_why_a_galaxy_is_not_usable(page):
    html, _ = page(good=np.zeros((34, 34), bool))
    assert "no spaxel has a valid velocity" in html
    assert "not measurable" in html


def test_header_text_is_escaped(page):
    html, _ = page(cards={"OBJECT": "<script>alert(1)</script>"})
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
