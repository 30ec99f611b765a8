"""Whether a file from an archive is what it should be: no web page, the right sum, a whole FITS file."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # importing it takes half a second, which jobs that read no FITS file need not wait
    from astropy.io import fits

#: FITS files are made of blocks of this many bytes (FITS standard 4.0, section 3.1).
BLOCK = 2880
CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
#: No header of the archives comes near this; what does is not a header.
MAX_HEADER_BYTES = 64 << 20

_END_CARD = b"END" + b" " * 77
#: Cards that say what an HDU is and how much data it has.
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|TFIELDS|TFORM\d+|EXTNAME|Z(IMAGE|BITPIX|NAXIS\d*|CMPTYPE)|END"
)
_HTML = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_SUM_LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{40}|[0-9a-fA-F]{64}) [ *](?P<name>\S.*)")


class ArchiveError(OSError):
    """A file could not be had from an archive, or is not what it should be."""


class DamagedFile(ArchiveError):
    """What arrived is not the file that was wanted."""


class WrongChecksum(DamagedFile):
    """The file's sum differs from the published one."""


class HtmlInsteadOfFits(DamagedFile):
    """A web page came in place of the file: a login, an outage notice, a moved address."""


class BadFits(DamagedFile):
    """The file is not a whole FITS file, or its gzip stream is damaged."""


class MissingExtension(DamagedFile):
    """The FITS file is whole but lacks an extension that is needed."""


class BadChecksums(DamagedFile):
    """A file of checksums cannot be understood."""


def check_fits(path: str | os.PathLike, extensions: Iterable[str] = ()) -> list[str]:
    """Walk every HDU of a FITS file, gzip-compressed or not, and make sure that all data are there.

    The file is read once from beginning to end in bounded memory: a gzip stream is decompressed to its
    end, so that its CRC is compared; each header must end, and each HDU must hold the
    |BITPIX|/8 · GCOUNT · (PCOUNT + Π NAXISn) bytes that its header announces, padded to whole blocks
    (FITS standard 4.0, sections 3.3 and 4.4.1).

    Parameters
    ----------
    path : path
        File to check; gzip is recognised by its content, not by its name.
    extensions : names
        Extensions that must be there, in any order and case.

    Returns
    -------
    list of str
        EXTNAME of every HDU in order, "PRIMARY" for the first one where it has none, "" for others.

    Raises
    ------
    BadFits
        Not FITS, cut short, garbage after the last HDU, or a damaged gzip stream.
    MissingExtension
        Names what is missing and what is there.
    """
    path = Path(path)
    try:
        with _open(path) as stream:
            names = _walk(stream, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadFits(
            f"{shown(path)}: its gzip stream is damaged or cut short ({error}), expected a whole FITS file; fetch it again"
        ) from error
    there = {name.upper() for name in names}
    missing = [name for name in extensions if name.upper() not in there]
    if missing:
        raise MissingExtension(
            f"{shown(path)} has no extension {', '.join(missing)} (it has: {_some(names)}); "
            "make sure that the address, release and DAPTYPE name the wanted kind of file, then fetch it again"
        )
    return names


def check_not_html(path: str | os.PathLike) -> None:
    """Refuse a web page.

    Raises
    ------
    HtmlInsteadOfFits
        The file begins as an HTML page does.
    """
    with open(path, "rb") as file:
        head = file.read(4096)
    if _HTML.match(head):
        title = re.search(rb"<title[^>]*>\s*(.*?)\s*</title>", head, re.IGNORECASE | re.DOTALL)
        text = " ".join(title[1].decode("utf-8", "replace").split())[:80] if title else ""
        raise HtmlInsteadOfFits(
            f"{shown(path)} is an HTML page{f' titled “{text}”' if text else ''}, not the data file that was expected; "
            "open the address in a browser: the server may want a login, be down for maintenance, or have moved the file"
        )


def check_sums(path: str | os.PathLike, *, sha1: str | None = None, sha256: str | None = None) -> str:
    """Compare a file with published sums, and return its SHA-256 in hexadecimal.

    Raises
    ------
    WrongChecksum
        Says both sums.
    """
    hashes = {"SHA-256": hashlib.sha256(), "SHA-1": hashlib.sha1(usedforsecurity=False)}
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            for digest in hashes.values():
                digest.update(chunk)
    for kind, wanted in (("SHA-1", sha1), ("SHA-256", sha256)):
        found = hashes[kind].hexdigest()
        if wanted is not None and found != wanted.lower():
            raise WrongChecksum(
                f"{shown(path)} has {kind} {found}, but the archive publishes {wanted.lower()}; it was damaged on the way or "
                "replaced in the archive without its sum: fetch it again, and report it to the archive if that does not help"
            )
    return hashes["SHA-256"].hexdigest()


def read_checksums(path: str | os.PathLike) -> dict[str, str]:
    """Read a file written by `sha1sum` or `sha256sum`.

    Returns
    -------
    dict
        File name, as it stands in the file but without a leading `./`, to its sum in lower-case
        hexadecimal (40 digits for SHA-1, 64 for SHA-256).

    Raises
    ------
    BadChecksums
        A line is not a sum and a name, or two lines disagree about one name.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadChecksums(f"{shown(path)} is not a text file of checksums, as expected ({error}); fetch it again") from error
    if not lines:
        raise BadChecksums(f"{shown(path)} is empty, expected a checksum and a name in each line; fetch it again")
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUM_LINE.fullmatch(line.rstrip())
        if match is None:
            raise BadChecksums(
                f"{shown(path)}, line {number}: expected a SHA-1 or SHA-256 sum, two spaces and a name, found {line[:80]!r}; fetch it again"
            )
        name, value = match["name"].removeprefix("./"), match["sum"].lower()
        if sums.setdefault(name, value) != value:
            raise BadChecksums(
                f"{shown(path)}, line {number}: a second, different sum for {name}, expected one; fetch it again or report it to the archive"
            )
    return sums


def partial_name(name: str) -> str:
    """Return the name under which a file stands in its folder until it is whole and checked."""
    return f".{name}.partial"


def shown(path: str | os.PathLike) -> str:
    """Return a file's name for messages: what it will be called once it is whole."""
    name = Path(path).name
    if name.startswith(".") and name.endswith(".partial"):
        return name[1 : -len(".partial")]
    return str(path)


def _open(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        magic = file.read(2)
    return gzip.open(path, "rb") if magic == GZIP_MAGIC else open(path, "rb")  # type: ignore[return-value]


def _walk(stream: BinaryIO, path: Path) -> list[str]:
    names: list[str] = []
    while (header := _read_header(stream, path, len(names))) is not None:
        names.append(str(header.get("EXTNAME", "" if names else "PRIMARY")).strip())
        _skip_data(stream, header, path, f"HDU {len(names) - 1} ({names[-1] or 'unnamed'})")
    return names


def _read_header(stream: BinaryIO, path: Path, number: int) -> fits.Header | None:
    """Return the next header, or None where the file ends."""
    start = b"SIMPLE  =" if number == 0 else b"XTENSION="
    text = b""
    while len(text) <= MAX_HEADER_BYTES:
        block = stream.read(BLOCK)
        if not block and not text and number:
            return None
        if not text and number and not block.strip(b"\0"):
            _only_zeros(stream, path, number, len(block))
            return None
        if not text and not block.startswith(start):
            found = (
                "is empty"
                if not block
                else f"has {block[:12]!r} where {'the file' if number == 0 else f'HDU {number}'} should begin with {start.decode()}"
            )
            raise BadFits(f"{shown(path)} is not a whole FITS file: it {found}; fetch it again")
        if len(block) < BLOCK:
            raise BadFits(f"{shown(path)} is cut short inside the header of HDU {number}; fetch it again")
        text += block
        if any(block[i : i + 80] == _END_CARD for i in range(0, BLOCK, 80)):
            return _header(text, path, number)
    raise BadFits(f"{shown(path)}: the header of HDU {number} has no END card; fetch the file again")


def _header(text: bytes, path: Path, number: int) -> fits.Header:
    """Return a header; a degree sign or a name in a comment is no damage, in a card that says what the data are it is."""
    cards = (text[i : i + 80] for i in range(0, len(text), 80))
    for keyword in (card[:8].decode("latin-1").strip() for card in cards if not card.isascii()):
        if not keyword.isascii() or _STRUCTURE.fullmatch(keyword):
            raise BadFits(f"{shown(path)}: the header of HDU {number} is not ASCII text (card {keyword}); fetch the file again")
    from astropy.io import fits

    return fits.Header.fromstring(text.decode("ascii", "replace").replace("\ufffd", "?"))


def without_trailing_zeros(content: bytes, path: str | os.PathLike) -> bytes:
    """Return a FITS file without the blocks of zeros behind its last HDU, which astropy takes for damage.

    Raises
    ------
    BadFits
        The file is not whole.
    """
    if len(content) < BLOCK or content[-BLOCK:].strip(b"\0"):
        return content
    stream, end, number = io.BytesIO(content), 0, 0
    while (header := _read_header(stream, Path(path), number)) is not None:
        _skip_data(stream, header, Path(path), f"HDU {number}")
        end, number = stream.tell(), number + 1
    return content[:end]


def _only_zeros(stream: BinaryIO, path: Path, number: int, zeros: int) -> None:
    """Pass over zeros to the end of the file: tapes and disks fill up their last record, and readers of FITS allow it."""
    while block := stream.read(CHUNK):
        zeros += len(block)
        if block.strip(b"\0"):
            raise BadFits(
                f"{shown(path)} is not a whole FITS file: it has zeros where HDU {number} should begin, and more behind; fetch it again"
            )
    if zeros % BLOCK:
        raise BadFits(
            f"{shown(path)} is not a whole FITS file: it ends with {zeros} zeros, expected whole blocks of {BLOCK} bytes; a transfer as text "
            "changes lengths: fetch it again as binary"
        )


def _skip_data(stream: BinaryIO, header: fits.Header, path: Path, hdu: str) -> None:
    length = _data_bytes(header, path, hdu)
    left = -(-length // BLOCK) * BLOCK
    while left:
        read = len(stream.read(min(left, CHUNK)))
        if not read:
            raise BadFits(
                f"{shown(path)} is cut short: {hdu} should hold {length} bytes of data, and {left} bytes are missing to its last "
                "whole block; fetch it again"
            )
        left -= read


def _data_bytes(header: fits.Header, path: Path, hdu: str) -> int:
    from astropy.io import fits

    try:
        axes = [int(header[f"NAXIS{i}"]) for i in range(1, int(header["NAXIS"]) + 1)]
        if axes and axes[0] == 0 and header.get("GROUPS", False):  # random groups: the first axis does not count
            axes = axes[1:]
        pixels = math.prod(axes) if axes else 0
        length = abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * (int(header.get("PCOUNT", 0)) + pixels)
    except (KeyError, ValueError, TypeError, fits.VerifyError) as error:
        raise BadFits(f"{shown(path)}: the header of {hdu} does not say how much data it has ({error}); fetch the file again") from error
    if length < 0:
        raise BadFits(f"{shown(path)}: the header of {hdu} announces {length} bytes of data; fetch the file again")
    return length


def _some(names: list[str], most: int = 12) -> str:
    named = [name for name in names if name] or ["no named one"]
    return ", ".join(named[:most]) + (f" … {len(named) - most} more" if len(named) > most else "")
