"""Downloads from a local archive, and onto disks that are full, closed or failing."""

import errno
import hashlib
import io
import os

import pytest

from darkhaloscope.archive import download
from darkhaloscope.archive.checks import WrongChecksum, check_fits
from darkhaloscope.archive.download import NotFound, fetch
from darkhaloscope.core.files import OutputError
from unit.archive.misbehaving_server import CONTENT


class FullDisk:
    """A file on a disk with room for so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)


@pytest.mark.parametrize("local", [False, True])
def test_a_full_disk(get, server, tmp_path, monkeypatch, pauses, local, left, quick):
    source = tmp_path / "source.fits.gz"
    source.write_bytes(CONTENT)
    monkeypatch.setattr(download, "CHUNK", 4096)

    def small(path, mode):
        file = open(path, mode)  # noqa: SIM115
        return FullDisk(file, 30000) if "a" in mode else file

    monkeypatch.setattr(download, "open", small, raising=False)
    with pytest.raises(OutputError, match=r"no space left while writing .*galaxy.fits.gz; free space") as error:
        fetch(source.as_uri(), tmp_path / "folder" / "galaxy.fits.gz", quick, sleep=pauses.append) if local else get()
    assert error.value.errno == errno.ENOSPC
    assert left() == [] and pauses == []


def test_a_folder_that_cannot_be_written(get, monkeypatch):
    def forbidden(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(download, "open", forbidden, raising=False)
    with pytest.raises(OutputError, match="cannot be written .Permission denied.; check the folder's permissions"):
        get()


def test_a_local_archive(tmp_path, monkeypatch, quick):
    """The same checks and the same result; a relative address starts at the working folder."""
    (tmp_path / "sas").mkdir()
    (tmp_path / "sas" / "a.fits.gz").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    for url in ("file://sas/a.fits.gz", (tmp_path / "sas" / "a.fits.gz").as_uri()):
        done = fetch(url, tmp_path / "got" / "a.fits.gz", quick, sha1=hashlib.sha1(CONTENT).hexdigest(), check=check_fits)
        assert done.path.read_bytes() == CONTENT and not done.resumed and done.attempts == 1
    with pytest.raises(WrongChecksum, match="address: file://sas/a.fits.gz"):
        fetch("file://sas/a.fits.gz", tmp_path / "b.fits.gz", quick, sha1="0" * 40)
    assert not list(tmp_path.glob("*b.fits.gz*"))


def test_a_local_file_that_is_missing(tmp_path, pauses, quick):
    with pytest.raises(NotFound, match=r"nowhere/a.fits does not exist.*working folder .*file:/// begins an absolute path"):
        fetch("file://nowhere/a.fits", tmp_path / "a.fits", quick, sleep=pauses.append)
    with pytest.raises(NotFound, match="not a file"):
        fetch(tmp_path.as_uri(), tmp_path / "a.fits", quick, sleep=pauses.append)
    assert list(tmp_path.iterdir()) == [] and pauses == []


def test_a_local_file_on_a_failing_disk(tmp_path, monkeypatch, pauses, quick):
    source = tmp_path / "a.fits.gz"
    source.write_bytes(CONTENT)
    failing = iter([True, False, False])

    class Failing(io.FileIO):
        def read(self, count=-1):
            if next(failing, False):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(count)

    monkeypatch.setattr(download, "open", lambda path, mode: Failing(path) if mode == "rb" else open(path, mode), raising=False)  # noqa: SIM115
    done = fetch(source.as_uri(), tmp_path / "b.fits.gz", quick, sleep=pauses.append)
    assert done.attempts == 2 and done.path.read_bytes() == CONTENT and pauses == [0.5]
