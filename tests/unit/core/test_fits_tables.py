"""Tables that come as FITS: every value as it was meant, or an error in words."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from darkhaloscope.core.fits_tables import is_fits, read_fits_table


class Refused(Exception):
    """The caller's own error."""


@pytest.fixture
def table(tmp_path):
    made = Table(
        {
            "id": np.array([2**62 + 1, 2, 3]),
            "name": ["a ", "", "SDSS J0946+1006"],
            "ra": np.array([1.0, 2.0, 23.5]) * u.hour,
            "dec": np.array([0.1, -0.2, np.nan]) * u.rad,
            "is_lens": [True, False, True],
            "count": MaskedColumn([1, 2, 3], mask=[False, True, False]),
            "mag": np.array([17.5, 18.25, np.nan], np.float32),
            "theta_e": np.array([1.1, 1.2, 1.3]) * u.arcsec,
            "image": np.zeros((3, 2)),
        }
    )
    path = tmp_path / "table.fits"
    made.write(path)
    return path


def test_columns_keep_their_values_and_positions_become_degrees(table, caplog):
    with caplog.at_level("INFO", logger="darkhaloscope"):
        found = read_fits_table(table, Refused)
    assert found.schema.field("id").type == pa.int64() and found.schema.field("mag").type == pa.float32()
    values = found.to_pydict()
    assert values["id"] == [2**62 + 1, 2, 3]  # as a float it would be 2⁶²
    assert values["name"] == ["a", None, "SDSS J0946+1006"]
    assert values["ra"] == [15.0, 30.0, 352.5]
    assert values["dec"][:2] == pytest.approx([18 / np.pi, -36 / np.pi]) and values["dec"][2] is None
    assert values["is_lens"] == [True, False, True]
    assert values["count"] == [1, None, 3] and values["mag"] == [17.5, 18.25, None]
    assert values["theta_e"] == [1.1, 1.2, 1.3]  # no position: its unit is its own
    assert "image" not in values
    assert "ra is in h" in caplog.text and "image hold several values" in caplog.text


def test_packed_files_ascii_tables_and_unsigned_numbers(table, tmp_path):
    (tmp_path / "table.fits.gz").write_bytes(gzip.compress(table.read_bytes()))
    assert read_fits_table(tmp_path / "table.fits.gz", Refused).equals(read_fits_table(table, Refused))
    columns = [fits.Column("k", "I5", array=[1, 2, 3], ascii=True), fits.Column("n", "A5", array=["x", "yy", ""], ascii=True)]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "ascii.fits")
    assert read_fits_table(tmp_path / "ascii.fits", Refused).to_pydict() == {"k": [1, 2, 3], "n": ["x", "yy", None]}
    big = np.array([1, 2**63 + 5], np.uint64)
    fits.BinTableHDU.from_columns([fits.Column("k", "K", bzero=2**63, array=big)]).writeto(tmp_path / "unsigned.fits")
    assert read_fits_table(tmp_path / "unsigned.fits", Refused)["k"].to_pylist() == [1, 2**63 + 5]


def test_several_tables_none_and_strange_units_are_refused(table, tmp_path):
    with fits.open(table) as hdus:
        fits.HDUList([fits.PrimaryHDU(), hdus[1].copy(), fits.BinTableHDU(hdus[1].data, name="OTHER")]).writeto(tmp_path / "two.fits")
    with pytest.raises(ValueError, match=r"HDUs 1, 2 \(OTHER\), expected one table; save"):
        read_fits_table(tmp_path / "two.fits", ValueError)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(ValueError, match="holds no table, expected one"):
        read_fits_table(tmp_path / "image.fits", ValueError)
    Table({"ra": [1.0] * u.m}).write(tmp_path / "metres.fits")
    with pytest.raises(ValueError, match="column ra is in m, expected degrees; save it in degrees"):
        read_fits_table(tmp_path / "metres.fits", ValueError)


def test_what_is_fits_is_told_by_the_name():
    assert all(is_fits(name) for name in ("a.fits", "B.FIT", "c.fits.gz")) and not any(
        is_fits(n) for n in ("a.csv.gz", "fits", "a.fits.csv")
    )
