"""The lock of a results root: one cause for each refusal, in words."""

import errno
import fcntl
import os
import stat
import subprocess
import sys

import pytest

from darkhaloscope.core import files
from darkhaloscope.core.files import whole
from darkhaloscope.jobs import lock as module
from darkhaloscope.jobs.lock import RootError, lock, look_into

HOLD = "import sys; from darkhaloscope.jobs.lock import lock; lock(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def failing(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture
def mask():
    before = os.umask(0o002)
    yield
    os.umask(before)


def test_another_run_is_named_and_the_lock_goes_with_its_process(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RootError, match=rf"another run is writing below {tmp_path}/ \(process {holder.pid} on "):
            lock(str(tmp_path))
    finally:
        holder.communicate()
    assert lock(str(tmp_path)) is None


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    warning = lock(str(tmp_path))
    assert f"{tmp_path}/ has no locks ({os.strerror(number)})" in warning and "one run at a time" in warning


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EBADF])
def test_another_error_of_the_lock_is_said_as_it_is(tmp_path, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(RootError, match=rf"cannot be locked \({os.strerror(number)}\)"):
        lock(str(tmp_path))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_when_the_lock_is_taken(tmp_path, monkeypatch, number):
    monkeypatch.setattr(module.os, "write", failing(number))
    with pytest.raises(
        RootError, match=rf"cannot be written below {tmp_path}/ \({os.strerror(number)}\); check its permissions and free space"
    ):
        lock(str(tmp_path))


def test_the_lock_file_follows_the_umask(tmp_path, mask):
    lock(str(tmp_path / "shared"))
    assert stat.S_IMODE((tmp_path / "shared/.lock").stat().st_mode) == 0o664


def test_a_lock_file_that_another_user_made_is_locked_though_it_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / ".lock").write_text("process 1 on elsewhere")
    real = os.open

    def refuse(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *mode)

    monkeypatch.setattr(module.os, "open", refuse)
    assert lock(str(tmp_path)) is None and (tmp_path / ".lock").read_text() == "process 1 on elsewhere"


def test_a_root_that_cannot_be_used_is_said_in_words(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path / "purged")
    with pytest.raises(RootError, match=rf"is a link to {tmp_path}/purged, which does not exist any more"):
        lock(str(tmp_path / "link"))
    (tmp_path / "file").write_text("")
    for root in ("file", "file/below"):
        with pytest.raises(RootError, match=rf"needs a folder, but there is a file at {tmp_path}/file"):
            lock(str(tmp_path / root))

    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / ".lock"))

    monkeypatch.setattr(module.os, "open", read_only)
    with pytest.raises(RootError, match="cannot be written below .* \\(Read-only file system"):
        lock(str(tmp_path))


def test_a_root_that_is_no_folder_is_said_before_snakemake_reads_it(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for root in ("file", "file/below/it"):
        with pytest.raises(RootError, match=rf"needs a folder, but there is a file at {tmp_path}/file; move it away"):
            look_into(str(tmp_path / root))
    with pytest.raises(RootError, match="File name too long"):
        look_into(str(tmp_path / ("x" * 300)))
    with pytest.raises(RootError, match="File name too long"):
        lock(str(tmp_path / ("x" * 300)))
    look_into(str(tmp_path / "not yet/there"))
    look_into(str(tmp_path))

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(module.os, "scandir", refuse)
    with pytest.raises(RootError, match=r"\(Permission denied: .*\); check its permissions"):
        look_into(str(tmp_path))


@pytest.mark.parametrize(("call", "number"), [("fsync", errno.EINVAL), ("chmod", errno.EPERM), ("chmod", errno.ENOTSUP)])
def test_a_file_system_that_does_not_know_an_operation_takes_files_all_the_same(tmp_path, monkeypatch, call, number):
    monkeypatch.setattr(files.os, call, failing(number))
    with whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert (tmp_path / "a.txt").read_text() == "a"


def test_an_error_of_the_disk_while_a_file_is_flushed_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    assert not (tmp_path / "a.txt").exists()


def test_files_and_folders_follow_the_umask(tmp_path, mask):
    with whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("a")
    folder = tmp_path / "page"
    folder.mkdir(0o700)
    files.follow_umask(folder, 0o777)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "page")] == [0o664, 0o775]
