"""Whole-file writing: what is there is whole, and what failed leaves nothing."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from darkhaloscope.core.files import OutputError, sha256, whole, write_json, write_text


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="boom"), whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("boom")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_said_in_words(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(OutputError, match=r"no space left while writing .*a\.txt"), whole(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), whole(tmp_path / "file" / "a.txt"):
        pass


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant|Out of range"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []


def test_files_get_the_usual_permissions_and_a_known_digest(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    write_text(path, "abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_a_killed_process_left_is_removed_by_the_next_write_and_a_living_ones_stays(tmp_path):
    script = "import os, sys, time; from darkhaloscope.core.files import whole\nwith whole(sys.argv[1]) as t: print(t, flush=True); time.sleep(60)"
    path = tmp_path / "a.txt"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen([sys.executable, "-P", "-c", script, str(path)], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    left = [Path(writer.stdout.readline().strip()) for writer in writers]
    writers[0].kill()
    writers[0].wait()
    # The second is dead too, but nobody has asked how it ended: its number is still taken.
    writers[1].kill()
    os.waitid(os.P_PID, writers[1].pid, os.WEXITED | os.WNOWAIT)
    try:
        assert all(path.exists() for path in left)
        write_text(path, "whole")
        assert path.read_text() == "whole"
        assert [path.exists() for path in left] == [False, not sys.platform.startswith("linux"), True]
    finally:
        for writer in writers[1:]:
            writer.kill()
            writer.wait()
