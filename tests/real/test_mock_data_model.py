"""The mock archive's files against the SDSS data models and a real MAPS file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.mock import manga_maps as mock_maps
from darkhaloscope.mock.manga_catalogs import DAPALL_COLUMNS, DRPALL_COLUMNS
from darkhaloscope.mock.manga_measurements import elliptical, spaxel_offsets
from darkhaloscope.mock.manga_population import draw_observations

LAYOUT_CARDS = ("BUNIT", "HDUCLASS", "HDUCLAS1", "HDUCLAS2", "HDUCLAS3", "ERRDATA", "QUALDATA", "SCIDATA", "MASKNAME", "BITPIX", "WCSAXES")


def model(real, name: str, release: str) -> dict:
    content = json.loads((real / "manga" / f"sdssdatamodel-{name}.json").read_text())
    return content["releases"][release]["hdus"]


def described(cards) -> dict:
    """Cards that describe a MAPS extension: units, class, neighbours and channels."""
    named = {card["key"]: card["value"] for card in cards}
    return {k: v for k, v in named.items() if k in LAYOUT_CARDS or (k[0] in "CU" and k[1:].isdigit())}


def test_extensions_and_their_cards_are_those_of_the_data_model(real):
    hdus = list(model(real, "mangaMaps", "DR17").values())
    assert [hdu["name"] for hdu in hdus[1:]] == [name for name, _, _ in mock_maps.EXTENSIONS]
    common = mock_maps._image_cards(draw_observations(1, 20)[0])
    for hdu, (name, unit, channels) in zip(hdus[1:], mock_maps.EXTENSIONS, strict=True):
        expected = described(hdu["header"])
        header = mock_maps._extension_header(name, unit, channels, common, int(expected["WCSAXES"]))
        expected.pop("BITPIX")
        found = described({"key": c.keyword, "value": str(c.value)} for c in header.cards)
        assert found == expected, name


def test_primary_cards_are_among_the_data_models(real):
    known = {card["key"] for card in model(real, "mangaMaps", "DR17")["hdu0"]["header"]}
    path_cards = {"SCINPVEL", "REFF", "ECOOPA", "ECOOELL", "RFWHM", "DRP3QUAL", "DAPQUAL", "MANGAID", "PLATEIFU"}
    assert path_cards <= known


@pytest.mark.parametrize(
    ("name", "release", "hdu", "columns"),
    [("mangaDAPall", "DR17", "hdu3", DAPALL_COLUMNS), ("mangaDRPall", "DR16", "hdu1", DRPALL_COLUMNS)],
)
def test_catalogue_columns_are_those_of_the_data_model(real, name, release, hdu, columns):
    letters = {"int64": "K", "float32": "E", "float64": "D", "bool": "L", "char": "A"}
    expected = []
    for column in model(real, name, release)[hdu]["columns"].values():
        kind, _, size = column["type"].partition("[")
        size, letter = size.rstrip("]") or "1", letters[kind]
        expected.append(f"{column['name']}:{'' if size == '1' and letter != 'A' else size}{letter}")
    assert [f"{column['name']}:{column['form']}" for column in columns] == expected


def test_elliptical_coordinates_match_a_real_file(real):
    path = next((real / "sas").rglob("manga-7815-3702-MAPS-*.fits.gz"))
    with fits.open(path) as hdus:
        header, sky, ellipse = hdus[0].header, hdus["SPX_SKYCOO"].data, hdus["SPX_ELLCOO"].data
    x, y = spaxel_offsets(sky.shape[-1])
    # The real bundle points a few hundredths of an arcsecond off its galaxy.
    np.testing.assert_allclose([x, y], sky, atol=0.02)
    observation = draw_observations(1, 20)[0]
    galaxy = replace(observation.galaxy, re_arcsec=header["REFF"])
    observation = replace(observation, galaxy=galaxy, nsa_ba=1 - header["ECOOELL"], nsa_phi_deg=header["ECOOPA"])
    radius, scaled, _, azimuth = elliptical(observation, sky[0].astype(float), sky[1].astype(float))
    np.testing.assert_allclose(radius, ellipse[0], atol=1e-5)
    np.testing.assert_allclose(scaled, ellipse[1], atol=1e-5)
    np.testing.assert_allclose((azimuth - ellipse[2] + 180) % 360, 180, atol=1e-3)
