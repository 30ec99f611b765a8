"""Whole and broken files; whole ones are written by astropy, broken ones are made from them."""

import gzip
import hashlib

import numpy as np
import pytest
from astropy.io import fits

from darkhaloscope.archive.checks import (
    BLOCK,
    BadChecksums,
    BadFits,
    HtmlInsteadOfFits,
    MissingExtension,
    WrongChecksum,
    check_fits,
    check_not_html,
    check_sums,
    partial_name,
    read_checksums,
    shown,
)


def hdus() -> fits.HDUList:
    random = np.random.default_rng(1)
    return fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(random.normal(size=(3, 20, 21)).astype(np.float32), name="EMLINE_GFLUX"),
            fits.ImageHDU(random.integers(0, 9, (41, 40)), name="BINID"),
            fits.BinTableHDU.from_columns(
                [fits.Column("x", "D", array=random.normal(size=700)), fits.Column("n", "PB()", array=[[1], [1, 2]] * 350)]
            ),
            fits.CompImageHDU(random.normal(size=(64, 64)).astype(np.float32), name="FPACKED"),
            fits.ImageHDU(name="EMPTY"),
        ]
    )


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "whole.fits"
    hdus().writeto(path)
    return path


@pytest.mark.parametrize("name", ["plain.fits", "packed.fits.gz"])
def test_every_kind_of_hdu_is_walked(tmp_path, name):
    path = tmp_path / name
    hdus().writeto(path)
    with fits.open(path, disable_image_compression=True) as file:
        names = [hdu.name for hdu in file]
    assert check_fits(path) == names == ["PRIMARY", "EMLINE_GFLUX", "BINID", "", "FPACKED", "EMPTY"]


def test_gzip_is_recognised_by_content(whole):
    packed = whole.with_name("named-plain.fits")
    packed.write_bytes(gzip.compress(whole.read_bytes()))
    assert check_fits(packed, ["binid"])[2] == "BINID"


def test_random_groups_are_walked(tmp_path):
    """Their first axis is 0 and counts for nothing; astropy writes the file."""
    path = tmp_path / "groups.fits"
    groups = fits.GroupData(
        np.zeros((100, 1, 1, 3, 4), np.float32), bitpix=-32, parnames=["UU", "VV"], pardata=[np.zeros(100), np.ones(100)]
    )
    fits.HDUList([fits.GroupsHDU(groups), fits.ImageHDU(np.ones(3), name="AFTER")]).writeto(path)
    assert check_fits(path)[1] == "AFTER"


def test_missing_extensions_are_named_with_those_there(whole):
    with pytest.raises(MissingExtension, match=r"no extension EMLINE_GVEL, SPX_SNR \(it has: PRIMARY, EMLINE_GFLUX, BINID"):
        check_fits(whole, ["BINID", "EMLINE_GVEL", "SPX_SNR"])


def test_every_cut_is_noticed(whole):
    """Cuts inside each header, each block of data, and the padding of the last block."""
    content = whole.read_bytes()
    cut = whole.with_name("cut.fits")
    ends = [0, 1, 79, BLOCK - 1, BLOCK + 100, *range(2 * BLOCK - 1, len(content), BLOCK), len(content) - 1]
    for end in ends:
        cut.write_bytes(content[:end])
        with pytest.raises(BadFits, match="cut.fits"):
            check_fits(cut)


def test_every_cut_of_a_gzip_file_is_noticed(whole):
    content = gzip.compress(whole.read_bytes())
    cut = whole.with_name("cut.fits.gz")
    for end in [3, 100, len(content) // 2, len(content) - 9, len(content) - 8, len(content) - 1]:
        cut.write_bytes(content[:end])
        with pytest.raises(BadFits, match=r"cut.fits.gz.*(gzip stream is damaged or cut short)"):
            check_fits(cut)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_flipped_byte_in_a_gzip_file_is_noticed(whole, place):
    content = bytearray(gzip.compress(whole.read_bytes()))
    content[int(place * len(content))] ^= 0xFF
    path = whole.with_name("flipped.fits.gz")
    path.write_bytes(content)
    with pytest.raises(BadFits, match="fetch"):
        check_fits(path)


def test_a_wrong_gzip_sum_is_noticed(whole):
    content = bytearray(gzip.compress(whole.read_bytes()))
    content[-6] ^= 1
    path = whole.with_name("crc.fits.gz")
    path.write_bytes(content)
    with pytest.raises(BadFits, match="CRC"):
        check_fits(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: b"", "is empty"),
        (lambda c: b"PK\x03\x04" + c, "should begin with SIMPLE"),
        (lambda c: c + b"x" * BLOCK, "should begin with XTENSION="),
        (lambda c: c.replace(b"END" + b" " * 77, b"ENT" + b" " * 77), "cut short|no END"),
        (lambda c: c.replace(b"NAXIS1  =                   21", b"NAXIS1  =                 'ab'"), "does not say how much data"),
        (lambda c: c.replace(b"NAXIS1  =                   21", b"NAXIS1  =                  -21"), "announces -"),
        (lambda c: c.replace(b"NAXIS1  =                   21", b"NAXIS9  =                   21"), "does not say how much data"),
        (lambda c: c.replace(b"NAXIS1  =                   21", "NAXIS1  =                   2é".encode("latin-1")), "not ASCII"),
        (lambda c: c.replace(b"NAXIS1  =                   21", b"NAXIS1  =         999999999999"), "cut short: HDU 1 .EMLINE_GFLUX"),
    ],
)
def test_broken_structure_is_said_in_words(whole, change, words):
    path = whole.with_name("broken.fits")
    path.write_bytes(change(whole.read_bytes()))
    with pytest.raises(BadFits, match=words):
        check_fits(path)


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><head><title>\n Sign in </title>",
        b"\xef\xbb\xbf  <HTML>\n<title>Sign in</title>",
        b"<?xml version='1.0'?>\n<!-- a comment -->\n<html xmlns='x'><title id='t'>Sign\n in</title>",
    ],
)
def test_html_is_refused_with_its_title(tmp_path, page):
    path = tmp_path / partial_name("galaxy.fits.gz")
    path.write_bytes(page)
    with pytest.raises(HtmlInsteadOfFits, match=r"^galaxy.fits.gz is an HTML page titled “Sign in”"):
        check_not_html(path)


@pytest.mark.parametrize("content", [b"", b"SIMPLE  =", b"\x1f\x8b\x08", b"da39a3ee5e6b4b0d3255bfef95601890afd80709  html", b"<table>"])
def test_data_are_not_html(tmp_path, content):
    path = tmp_path / "data"
    path.write_bytes(content)
    check_not_html(path)


def test_sums(whole):
    content = whole.read_bytes()
    sha1, sha256 = hashlib.sha1(content).hexdigest(), hashlib.sha256(content).hexdigest()
    assert check_sums(whole) == check_sums(whole, sha1=sha1.upper(), sha256=sha256) == sha256
    with pytest.raises(WrongChecksum, match=f"SHA-1 {sha1}, but the archive publishes {'0' * 40}"):
        check_sums(whole, sha1="0" * 40)
    with pytest.raises(WrongChecksum, match=f"SHA-256 {sha256}"):
        check_sums(whole, sha256="0" * 64)


def test_checksum_files_are_read(tmp_path):
    """Text and binary mode of sha1sum, sha256sum, folders, comments and empty lines."""
    path = tmp_path / "a.sha1sum"
    path.write_text(
        f"{'A' * 40}  a.fits\n\n# comment\n{'b' * 40} *b name.fits\r\n{'c' * 64}  ./c.fits\n{'d' * 40}  d/e.fits\n{'a' * 40}  a.fits\n"
    )
    assert read_checksums(path) == {"a.fits": "a" * 40, "b name.fits": "b" * 40, "c.fits": "c" * 64, "d/e.fits": "d" * 40}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>no</html>\n", "line 1: expected a SHA-1"),
        (b"a" * 40 + b"  a\n" + b"b" * 40 + b"  a\n", "line 2: a second, different sum for a"),
        (b"a" * 39 + b"  a\n", "line 1"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_broken_checksum_files_are_refused(tmp_path, content, words):
    path = tmp_path / "a.sha1sum"
    path.write_bytes(content)
    with pytest.raises(BadChecksums, match=words):
        read_checksums(path)


def test_names_in_messages():
    assert shown("results/" + partial_name("a.fits")) == "a.fits"
    assert shown("results/a.fits") == "results/a.fits"
