"""Fetch one file from an archive: streamed, resumed after a break, retried, checked, renamed into place.

The bytes go to a hidden `.NAME.partial` beside the destination. While it grows, `.NAME.partial.json`
holds what identifies the remote file (its ETag or Last-Modified date, and length), so that the next
attempt, or the next run after a kill, asks for the rest alone (Range with If-Range, RFC 9110 sections
13.1.5 and 14) and starts over where the remote file has changed.

requests is the transport. Its own retries (urllib3 `Retry`) stay unused: they end where a response
begins, while most breaks of a long download come later, and their pauses are not logged.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
import urllib3

from ..config.manga import Downloads
from ..core.files import OutputError, disk_errors
from . import s3
from .addresses import local_path, without_credentials
from .checks import (
    CHUNK,
    GZIP_MAGIC,
    ArchiveError,
    DamagedFile,
    WrongChecksum,
    check_not_html,
    check_sums,
)
from .partial import BrokenTransfer, Partial
from .progress import Meter, size_text

log = logging.getLogger(__name__)

#: No pause is longer, whatever the doubling or the server's Retry-After says [s].
MAX_PAUSE_S = 600.0

_USER_AGENT = f"dark-halo-scope (python-requests/{requests.__version__})"
_CONTENT_RANGE = re.compile(r"bytes (?:(?P<start>\d+)-\d+|\*)/(?P<total>\d+)")
_BUSY = (408, 425, 429)


class NotFound(ArchiveError):
    """The archive has no such file."""


class Refused(ArchiveError):
    """The archive does not let us have the file (401, 403)."""


class Truncated(DamagedFile):
    """The archive promises more bytes than it ever sends."""


class DownloadFailed(ArchiveError):
    """No attempt succeeded: the network, the server or a disk is at fault, not the file."""


@dataclass(frozen=True)
class Fetched:
    """A file that was fetched and checked."""

    path: Path
    bytes: int
    sha256: str
    #: Whether bytes of an earlier attempt or run were kept.
    resumed: bool
    attempts: int


def fetch(
    url: str,
    destination: str | os.PathLike,
    downloads: Downloads,
    *,
    sha1: str | None = None,
    sha256: str | None = None,
    check: Callable[[Path], object] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Fetch `url` to `destination`, whole and checked, or leave no file there.

    In this order: length as announced, no HTML page, published sums, `check`; then the file is renamed
    into place. Failed attempts are repeated after pauses that double (`downloads.first_pause_s`,
    at most `MAX_PAUSE_S`), each announced in the log. A file that was pieced together from several
    attempts and fails a check is fetched once more from its beginning; any other failed check is final.

    Parameters
    ----------
    url : str
        `https://`, `http://` or `file://` address (`addresses.local_path` says what the last may be).
    destination : path
        Final place; its folder is made. A file that is there is replaced only by a checked one.
    downloads : Downloads
        Number of retries, first pause [s], time without a byte after which an attempt is given up [s].
    sha1, sha256 : str or None
        Published sums in hexadecimal.
    check : callable or None
        Called with the path of the whole file under its temporary name; raises to refuse it.
    sleep : callable
        Called with each pause [s].

    Raises
    ------
    NotFound, Refused
        The archive has no such file, or does not give it; not retried.
    Truncated
        The transfer always ends early at the same byte.
    HtmlInsteadOfFits, WrongChecksum
        The file is a web page, or not the published one.
    DownloadFailed
        Every attempt failed for another reason. What arrived stays for the next run to resume from, if
        the server identifies its files; after any other error nothing stays.
    OutputError
        The disk is full or the folder cannot be written.
    Exception
        Whatever `check` raises.
    """
    destination = Path(destination)
    source = local_path(url)
    partial = Partial(destination, url)
    meter = Meter(destination.name)
    ends: list[int] = []
    last = downloads.retries + 1
    with _writing(destination, partial), requests.Session() as session:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, last + 1):
            resumed = False
            try:
                if source is None:
                    resumed = _download(session, url, partial, downloads.timeout_s, meter)
                    _undo_coding(partial.path, urlsplit(url).path, sha1, sha256)
                else:
                    _copy(source, url, partial, meter)
                check_not_html(partial.path)
                digest = check_sums(partial.path, sha1=sha1, sha256=sha256)
                if check is not None:
                    check(partial.path)
                size = partial.become(destination)
                log.debug("%s: %s from %s", destination.name, size_text(size), without_credentials(url))
                return Fetched(destination, size, digest, resumed, attempt)
            except BrokenTransfer as broken:
                ends.append(partial.size)
                if attempt == last:
                    raise _final(broken, url, partial, ends) from broken
                reason, wait = str(broken), broken.wait_s
            except DamagedFile as error:
                partial.delete()
                if not resumed or attempt == last:
                    raise type(error)(f"{error} (address: {without_credentials(url)}; nothing was kept)") from error
                reason, wait = f"{error}; it was pieced together from several attempts, so it is fetched anew", 0.0
            except Exception:
                partial.delete()
                raise
            pause = min(max(downloads.first_pause_s * 2 ** (attempt - 1), wait), MAX_PAUSE_S)
            log.warning("%s: attempt %d of %d failed: %s; next attempt in %g s", destination.name, attempt, last, reason, pause)
            sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _download(session: requests.Session, url: str, partial: Partial, timeout_s: float, meter: Meter) -> bool:
    """Make one attempt over HTTP; return whether earlier bytes were kept."""
    # Without `identity` a server may compress, or a client decompress, what the archive keeps compressed.
    headers = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
    address, signature = _over_http(url)
    start = partial.load()
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": str(partial.validator)}
        log.info("%s: asking for the rest, from byte %d on", meter.name, start)
    try:
        with session.get(address, headers=headers, auth=signature, stream=True, timeout=timeout_s) as response:
            start = _place(response, url, partial, start)
            if start != partial.total or start == 0:
                _store(_arriving(response.raw), partial, start, meter)
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        early = any(isinstance(cause, http.client.IncompleteRead) for cause in (error, *error.args))
        raise BrokenTransfer(_reason(error), early_end=early) from error
    partial.check_length()
    return start > 0


def _undo_coding(path: Path, name: str, sha1: str | None, sha256: str | None) -> None:
    """Undo the gzip that a server put around a file for the transfer, although it was asked for the file as it is.

    RFC 9110, section 8.4, and RFC 9112, section 7.2. A file that has the published sum, or whose own name says that it is
    gzip and that is so once, is left as it arrived. So is a damaged stream: the checks that follow name it.
    """
    try:
        with open(path, "rb") as file:
            coded = file.read(2) == GZIP_MAGIC
        if not coded:
            return
        with gzip.open(path) as file:
            twice = file.read(2) == GZIP_MAGIC
        if name.endswith((".gz", ".tgz")) and not twice:
            return
        if sha1 is not None or sha256 is not None:
            with contextlib.suppress(WrongChecksum):
                check_sums(path, sha1=sha1, sha256=sha256)
                return
        plain = path.with_name(path.name + ".decoded")
        try:
            with gzip.open(path) as coded_file, open(plain, "wb") as file:
                shutil.copyfileobj(coded_file, file, CHUNK)
            os.replace(plain, path)
        finally:
            plain.unlink(missing_ok=True)
        log.info("%s: the server sent it inside gzip; unpacked", name.rsplit("/", 1)[-1])
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return


def _over_http(url: str) -> tuple[str, s3.Signature | None]:
    if not url.startswith("s3://"):
        return url, None
    try:
        return s3.http_address(url)
    except s3.BadSettings as error:
        raise Refused(f"{url} cannot be asked for: {error}; check the address, AWS_PROFILE and the files in ~/.aws") from error


def _copy(source: Path, url: str, partial: Partial, meter: Meter) -> None:
    """Make one attempt from a local archive."""
    if not source.is_file():
        raise NotFound(
            f"{source} does not exist or is not a file (address {url}, working folder {Path.cwd()}); check the archive's base address and "
            "versions in the config: file:/// begins an absolute path, file:// one that starts at the working folder"
        )
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise Refused(f"{source} cannot be read ({error.strerror}); check its permissions") from error
    with file:
        partial.begin(None, os.fstat(file.fileno()).st_size)
        _store(_reading(file, source), partial, 0, meter)
    partial.check_length()


def _arriving(raw: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    # read1 gives what has arrived; read would wait for a whole chunk, and a break would lose it.
    while chunk := raw.read1(CHUNK, decode_content=False):
        yield chunk


def _reading(file: BinaryIO, source: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = file.read(CHUNK)
        except OSError as error:
            raise BrokenTransfer(f"{source} cannot be read ({error.strerror})") from error
        if not chunk:
            return
        yield chunk


def _store(chunks: Iterator[bytes], partial: Partial, start: int, meter: Meter) -> None:
    meter.start(start, partial.total)
    with open(partial.path, "ab") as file:
        for chunk in chunks:
            file.write(chunk)
            meter.add(len(chunk))


def _place(response: requests.Response, url: str, partial: Partial, start: int) -> int:
    """Judge a response's status; return the byte at which its body begins, or the total where nothing is missing."""
    status, shown = response.status_code, without_credentials(url)
    if url.startswith("s3://") and status in (400, 401, 403, 404):
        raise (NotFound if status == 404 else Refused)(s3.refusal(response, url))
    if status in (404, 410):
        raise NotFound(f"{shown} does not exist (HTTP {status}); check the archive's base address, versions and the name in the config")
    if status in (401, 403):
        raise Refused(f"{shown} is not open to us (HTTP {status}); check the address, or put a login for its host into ~/.netrc")
    if status == 200:
        length = response.headers.get("Content-Length", "")
        partial.begin(_validator(response), int(length) if length.isdecimal() else None)
        return 0
    if start and status in (206, 416):
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same = found is not None and int(found["total"]) == partial.total and _validator(response) in (None, partial.validator)
        if same and status == 206 and found["start"] == str(start):
            return start
        if same and status == 416 and start == partial.total:
            return start
        partial.delete()
        raise BrokenTransfer("the file has changed in the archive since the download began; starting over")
    if status in _BUSY or status >= 500:
        raise BrokenTransfer(f"the server answered {status} {response.reason}", wait_s=_retry_after(response))
    raise DownloadFailed(
        f"{shown}: the server answered {status} {response.reason}, expected 200 or 206; open the address in a browser to see why"
    )


def _validator(response: requests.Response) -> str | None:
    """Return what If-Range may hold: a strong ETag, else a Last-Modified date (RFC 9110, section 13.1.5)."""
    tag = response.headers.get("ETag")
    if tag and not tag.startswith("W/"):
        return tag
    return response.headers.get("Last-Modified")


def _retry_after(response: requests.Response) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0


def _reason(error: Exception) -> str:
    """Return the innermost readable reason of a transport error."""
    while error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    return str(getattr(error, "reason", None) or error) or type(error).__name__


def _final(broken: BrokenTransfer, url: str, partial: Partial, ends: list[int]) -> ArchiveError:
    """Return the error that ends the last attempt, and delete what arrived where it is of no further use."""
    shown = without_credentials(url)
    advanced = len(ends) > 1 and ends[-1] > ends[-2]
    if broken.early_end and not advanced:
        arrived, total = partial.size, partial.total
        partial.delete()
        promised = f" of {total} promised" if total is not None else ""
        return Truncated(
            f"{shown} is cut short: the transfer ended after {arrived}{promised} bytes in the last of {len(ends)} attempts; "
            "the file may be damaged in the archive: try again later, or report it there"
        )
    kept = f"; {partial.size} bytes are kept and the next run goes on from there" if partial.can_resume else ""
    if not kept:
        partial.delete()
    server = " and AWS_ENDPOINT_URL_S3" if url.startswith("s3://") else ""
    return DownloadFailed(
        f"{shown} could not be fetched in {len(ends)} attempts; the last ended with: {broken}{kept}. Check the network and the address{server}, "
        "or set more `retries` and a longer `timeout_s` under `downloads`"
    )


@contextlib.contextmanager
def _writing(destination: Path, partial: Partial) -> Iterator[None]:
    """Keep nothing of what was fetched where the disk is full: it would stay so."""
    try:
        with disk_errors(destination):
            yield
    except OutputError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            partial.delete()
        raise
