"""Downloads from a server on 127.0.0.1 that misbehaves in every way that an archive can."""

import gzip
import hashlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from darkhaloscope.archive import download, progress
from darkhaloscope.archive.checks import BadFits, HtmlInsteadOfFits, MissingExtension, WrongChecksum, check_fits
from darkhaloscope.archive.download import DownloadFailed, NotFound, Refused, Truncated, fetch
from unit.archive.misbehaving_server import CONTENT, Answer, fits_bytes

LIBRARY = Path(download.__file__).parents[2]


def test_a_good_file(get, server, pauses, left):
    done = get(sha1=hashlib.sha1(CONTENT).hexdigest(), sha256=hashlib.sha256(CONTENT).hexdigest())
    assert (done.bytes, done.sha256, done.resumed, done.attempts) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), False, 1)
    assert done.path.read_bytes() == CONTENT
    assert left() == ["galaxy.fits.gz"] and pauses == []
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_a_content_encoding_does_not_unpack_what_the_archive_keeps_packed(get, server):
    """Apache marks .fits.gz files so; clients that decode it store another file than the archive's."""
    server.script(Answer(headers={"Content-Encoding": "x-gzip"}))
    assert get().path.read_bytes() == CONTENT


PLAIN = gzip.decompress(CONTENT)


@pytest.mark.parametrize("header", ["Content-Encoding", "Transfer-Encoding"])
def test_a_coding_of_the_transfer_is_undone(get_named, server, header):
    """A server that compresses on its own, although it is asked for the file as it is."""
    server.script(Answer(content=gzip.compress(PLAIN), headers={header: "gzip"}))
    assert get_named("sweep.fits", sha256=hashlib.sha256(PLAIN).hexdigest()).path.read_bytes() == PLAIN
    assert get_named("sweep.fits").path.read_bytes() == PLAIN


def test_a_coding_around_a_gzip_file_is_undone_once(get_named, server):
    server.script(Answer(content=gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"}))
    assert get_named("galaxy.fits.gz", sha1=hashlib.sha1(CONTENT).hexdigest()).path.read_bytes() == CONTENT


def test_a_published_sum_decides_what_the_file_is(get_named, server):
    """An archive that keeps gzip under a plain name publishes the sum of that."""
    assert get_named("sweep.fits", sha256=hashlib.sha256(CONTENT).hexdigest()).path.read_bytes() == CONTENT
    server.script(Answer(content=gzip.compress(PLAIN)))
    with pytest.raises(WrongChecksum):
        get_named("sweep.fits", sha256="0" * 64)


def test_a_file_without_announced_length(get, server):
    server.script(Answer(length=False))
    assert get().bytes == len(CONTENT)


def test_404_is_not_retried(get, server, pauses, left):
    server.script(Answer(status=404))
    with pytest.raises(NotFound, match=r"galaxy.fits.gz does not exist \(HTTP 404\); check the archive's base address"):
        get()
    assert left() == [] and pauses == [] and len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_not_retried(get, server, pauses, status, left):
    server.script(Answer(status=status))
    with pytest.raises(Refused, match=f"HTTP {status}"):
        get()
    assert left() == [] and pauses == []


def test_another_client_error_is_not_retried(get, server, pauses, left):
    server.script(Answer(status=400))
    with pytest.raises(DownloadFailed, match="answered 400 Bad Request, expected 200 or 206"):
        get()
    assert left() == [] and pauses == []


def test_pauses_grow_and_are_logged(get, server, pauses, caplog):
    server.script(Answer(status=503), Answer(status=500), Answer(status=429), Answer())
    with caplog.at_level(logging.WARNING, "darkhaloscope"):
        assert get().attempts == 4
    assert pauses == [0.5, 1.0, 2.0]
    assert [r.getMessage() for r in caplog.records][:2] == [
        "galaxy.fits.gz: attempt 1 of 4 failed: the server answered 503 Service Unavailable; next attempt in 0.5 s",
        "galaxy.fits.gz: attempt 2 of 4 failed: the server answered 500 Internal Server Error; next attempt in 1 s",
    ]


def test_a_server_may_ask_for_a_longer_pause_but_not_for_any(get, server, pauses):
    server.script(Answer(status=503, headers={"Retry-After": "7"}), Answer(status=503, headers={"Retry-After": "99999"}), Answer())
    get()
    assert pauses == [7.0, download.MAX_PAUSE_S]


def test_an_outage_ends_in_words(get, server, pauses, left):
    server.script(Answer(status=502))
    with pytest.raises(
        DownloadFailed, match=r"could not be fetched in 4 attempts; the last ended with: the server answered 502 .* Check the network"
    ):
        get()
    assert left() == [] and pauses == [0.5, 1.0, 2.0]


def test_no_server_at_all(tmp_path, pauses, left, quick):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.fits"
        with pytest.raises(DownloadFailed, match=r"a.fits could not be fetched in 4 attempts.*Connection refused"):
            fetch(url, tmp_path / "folder" / "a.fits", quick, sleep=pauses.append)
    assert left() == [] and len(pauses) == 3


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("how", [{"tag": '"one"'}, {"tag": None, "modified": "Wed, 21 Oct 2015 07:28:00 GMT"}])
def test_a_dropped_connection_is_resumed(get, server, pauses, end, how, left):
    server.script(Answer(stop=20000, end=end, **how), Answer(stop=20000, end=end, **how), Answer(**how))
    done = get(sha1=hashlib.sha1(CONTENT).hexdigest())
    assert done.resumed and done.attempts == 3 and done.path.read_bytes() == CONTENT
    assert [r.get("Range") for r in server.requests] == [None, "bytes=20000-", "bytes=40000-"]
    assert server.requests[1]["If-Range"] == (how["tag"] or how["modified"])
    assert left() == ["galaxy.fits.gz"] and pauses == [0.5, 1.0]


def test_a_silent_connection_is_given_up_and_resumed(server, tmp_path, pauses, quick):
    server.script(Answer(stop=20000, end="hang"), Answer())
    impatient = quick.model_copy(update={"timeout_s": 0.3})
    done = fetch(server.url, tmp_path / "a.fits.gz", impatient, sleep=pauses.append)
    assert done.resumed and done.path.read_bytes() == CONTENT and pauses == [0.5]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_strong_validator_a_break_means_starting_over(get, server, tag):
    server.script(Answer(stop=20000, tag=tag), Answer(tag=tag))
    done = get()
    assert not done.resumed and done.attempts == 2 and done.path.read_bytes() == CONTENT
    assert all("Range" not in r for r in server.requests)


def test_a_server_without_ranges(get, server):
    server.script(Answer(stop=20000), Answer(ranges=False))
    done = get()
    assert not done.resumed and done.path.read_bytes() == CONTENT


@pytest.mark.parametrize("if_range", [True, False])
def test_a_remote_file_that_changed_between_attempts_starts_over(get, server, if_range):
    """Also where the server wrongly continues with the new file's bytes."""
    new = fits_bytes(2)
    server.script(Answer(stop=20000), Answer(content=new, tag='"two"', if_range=if_range))
    done = get(sha1=hashlib.sha1(new).hexdigest())
    assert not done.resumed and done.path.read_bytes() == new
    assert done.attempts == (2 if if_range else 3)


def test_a_remote_file_that_changed_unnoticed_is_fetched_anew(get, server, caplog):
    """Same ETag and length, other content: only the checks can tell, and they give it one fresh try."""
    new = bytearray(CONTENT)
    new[4:8] = b"\1\2\3\4"  # the gzip time stamp: a valid file with another sum
    server.script(Answer(stop=20000), Answer(content=bytes(new)))
    done = get(sha1=hashlib.sha1(new).hexdigest())
    assert done.attempts == 3 and not done.resumed and done.path.read_bytes() == new
    assert "pieced together" in caplog.text


def test_the_next_run_resumes_after_a_network_failure(get, server, tmp_path, left):
    server.script(Answer(stop=20000, end="reset"), Answer(status=503))
    with pytest.raises(DownloadFailed, match="20000 bytes are kept and the next run goes on from there"):
        get()
    assert not (tmp_path / "folder" / "galaxy.fits.gz").exists()
    server.script(Answer())
    done = get()
    assert done.resumed and done.attempts == 1 and done.path.read_bytes() == CONTENT
    assert left() == ["galaxy.fits.gz"]


def test_the_next_run_does_not_mix_addresses(get, server, tmp_path, quick):
    server.script(Answer(stop=20000, end="reset"), Answer(status=503))
    with pytest.raises(DownloadFailed):
        get()
    server.script(Answer())
    done = fetch(server.url.replace("galaxy", "other"), tmp_path / "folder" / "galaxy.fits.gz", quick)
    assert not done.resumed and "Range" not in server.requests[-1]


@pytest.mark.parametrize("state", ["", "{}", "[]", '{"url": 1, "validator": null, "total": "x"}'])
def test_a_damaged_record_of_an_earlier_run_is_ignored(get, server, tmp_path, state, left):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / ".galaxy.fits.gz.partial").write_bytes(b"x" * 50)
    (folder / ".galaxy.fits.gz.partial.json").write_text(state)
    assert not get().resumed
    assert left() == ["galaxy.fits.gz"]


def test_a_file_complete_but_not_yet_renamed_needs_no_byte_more(get, server, left):
    def killed(path):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(check=killed)
    assert left() == [".galaxy.fits.gz.partial", ".galaxy.fits.gz.partial.json"]
    done = get()
    assert done.resumed and done.path.read_bytes() == CONTENT
    assert server.requests[-1]["Range"] == f"bytes={len(CONTENT)}-"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_body_that_always_ends_early_is_truncated(get, server, ranges, left):
    stop = {"stop": 30000, "ranges": ranges}
    server.script(Answer(**stop), Answer(stop=0, ranges=True) if ranges else Answer(**stop))
    with pytest.raises(
        Truncated, match=rf"cut short: the transfer ended after 30000 of {len(CONTENT)} promised bytes in the last of 4 attempts"
    ):
        get()
    assert left() == []


def test_a_truncated_file_without_retries(get, server, tmp_path, left, quick):
    server.script(Answer(stop=30000))
    once = quick.model_copy(update={"retries": 0})
    with pytest.raises(Truncated):
        fetch(server.url, tmp_path / "folder" / "galaxy.fits.gz", once)
    assert left() == []


def test_a_file_truncated_in_the_archive(get, server, pauses, left):
    server.script(Answer(content=CONTENT[:-5000]))
    with pytest.raises(
        BadFits, match=r"galaxy.fits.gz: its gzip stream is damaged or cut short .*address: http://127.0.0.1.*nothing was kept"
    ):
        get()
    assert left() == [] and pauses == []


def test_a_damaged_gzip_stream(get, server, left):
    damaged = bytearray(CONTENT)
    damaged[len(damaged) // 2] ^= 0xFF
    server.script(Answer(content=bytes(damaged)))
    with pytest.raises(BadFits, match="gzip stream is damaged|fetch it again"):
        get()
    assert left() == []


def test_a_wrong_checksum(get, server, left):
    with pytest.raises(WrongChecksum, match=r"^galaxy.fits.gz has SHA-1 .* archive publishes 0{40}.*address: http"):
        get(sha1="0" * 40)
    assert left() == [] and len(server.requests) == 1


def test_an_html_page(get, server, left):
    server.script(
        Answer(content=b"<!DOCTYPE html><html><head><title>Maintenance</title></head></html>", headers={"Content-Type": "application/fits"})
    )
    with pytest.raises(HtmlInsteadOfFits, match="galaxy.fits.gz is an HTML page titled “Maintenance”, not the data file"):
        get(sha1="0" * 40)
    assert left() == []


def test_a_missing_extension(get, left):
    with pytest.raises(MissingExtension, match=r"galaxy.fits.gz has no extension EMLINE_GVEL \(it has: PRIMARY, FLUX\)"):
        get(check=partial(check_fits, extensions=["EMLINE_GVEL"]))
    assert left() == []


def test_any_error_of_the_check_passes_and_leaves_nothing(get, left):
    def check(path):
        raise ValueError(f"{path.name} displeases")

    with pytest.raises(ValueError, match="displeases"):
        get(check=check)
    assert left() == []


def test_a_failed_download_leaves_the_file_that_was_there(get, server):
    path = get().path
    server.script(Answer(content=b"junk"))
    with pytest.raises(BadFits):
        get()
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["galaxy.fits.gz"]


def test_progress_says_rate_and_time_left(get, server, monkeypatch, caplog):
    monkeypatch.setattr(progress, "PROGRESS_EVERY_S", 0.0)
    monkeypatch.setattr(download, "CHUNK", 4096)
    with caplog.at_level(logging.INFO, "darkhaloscope"):
        get()
    shares = [int(share) for share in re.findall(r"galaxy\.fits\.gz: .* \((\d+)%\)", caplog.text)]
    assert shares == sorted(shares) and shares[-1] == 100 and len(shares) > 5
    assert "galaxy.fits.gz: 4.1 kB of " in caplog.text and "/s, " in caplog.text and " s left" in caplog.text
    caplog.clear()
    clock = iter((0.0, 10.0, 10.0))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    meter = progress.Meter("a.fits")
    meter.start(1000, 6000)
    with caplog.at_level(logging.INFO, "darkhaloscope"):
        meter.add(2000)
    assert caplog.messages == ["a.fits: 3 kB of 6 kB (50%), 200 B/s, 15 s left"]


def test_credentials_in_an_address_stay_out_of_messages_and_files(server, tmp_path, caplog, quick):
    url = server.url.replace("127", "user:secret@127") + "?token=hidden"
    server.script(Answer(stop=20000, end="reset"), Answer(status=503))
    with caplog.at_level(logging.DEBUG, "darkhaloscope"), pytest.raises(DownloadFailed) as error:
        fetch(url, tmp_path / "a.fits.gz", quick, sleep=lambda s: None)
    written = "".join(p.read_text(encoding="latin-1") for p in tmp_path.glob(".*.json"))
    assert "127.0.0.1" in written
    for text in (str(error.value), caplog.text, written):
        assert "secret" not in text and "hidden" not in text


KILLED = """
import sys
from darkhaloscope.archive.download import fetch
from darkhaloscope.config.manga import Downloads
print(fetch(sys.argv[1], sys.argv[2], Downloads(retries=0)).resumed)
"""


def test_a_kill_is_survived(server, tmp_path):
    """kill -9 in the middle of a transfer, then the same command: it goes on where it was."""
    server.script(Answer(stop=40960, end="hang"), Answer())
    command = [sys.executable, "-c", KILLED, server.url, str(tmp_path / "a.fits.gz")]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    arriving = tmp_path / ".a.fits.gz.partial"
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 30
        while not arriving.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert arriving.exists() and not (tmp_path / "a.fits.gz").exists()
    kept = arriving.stat().st_size
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (tmp_path / "a.fits.gz").read_bytes() == CONTENT
    assert done.stdout.strip() == str(kept > 0)
    assert server.requests[-1].get("Range") == (f"bytes={kept}-" if kept else None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fits.gz"]
