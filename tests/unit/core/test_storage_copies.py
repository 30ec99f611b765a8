"""Local copies of stored checkpoints: fetched again where they are not what is stored, whatever the clocks say."""

import hashlib
import os
from types import SimpleNamespace

import pytest

from darkhaloscope.jobs import storage


class Stored:
    """An object in a bucket, as the storage plugin shows it."""

    def __init__(self, copy, content, *, tag=None, seconds=0.0, encryption=None):
        self.copy, self.content, self.fetched = copy, content, 0
        self.tag, self.encryption = tag or f'"{hashlib.md5(content).hexdigest()}"', encryption
        self._mtime = (copy.stat().st_mtime if copy.exists() else 0) + seconds

    def local_path(self):
        return self.copy

    def mtime(self):
        return self._mtime

    def size(self):
        return len(self.content)

    def s3obj(self):
        return SimpleNamespace(e_tag=self.tag, server_side_encryption=self.encryption)

    def retrieve_object(self):
        self.fetched += 1
        self.copy.write_bytes(self.content)


@pytest.fixture
def fetch(tmp_path):
    copy = tmp_path / "bricks.csv"

    def run(local, content, **changes):
        storage._compared.clear()
        if local is not None:
            copy.write_bytes(local)
            os.utime(copy, (1e9, 1e9))
        stored = Stored(copy, content, **changes)
        assert storage.fetched(SimpleNamespace(is_storage=True, storage_object=stored, __str__=lambda self: "x")) is not None
        assert copy.read_bytes() == content or not stored.fetched
        return stored.fetched

    return run


def test_a_copy_that_is_gone_is_fetched(fetch):
    assert fetch(None, b"new") == 1


@pytest.mark.parametrize("seconds", [-3600, 0, 3600])
def test_content_decides_whatever_the_clocks_say(fetch, seconds):
    assert fetch(b"old", b"new", seconds=seconds) == 1
    assert fetch(b"same", b"same", seconds=seconds) == 0
    assert fetch(b"short", b"longer", seconds=seconds, tag='"abc-2"') == 1  # of several parts: its size tells


def test_times_decide_where_the_store_gives_no_hash(fetch):
    for changes in ({"tag": f'"{"0" * 32}-3"'}, {"encryption": "aws:kms", "tag": f'"{"0" * 32}"'}):
        assert fetch(b"old", b"new", seconds=60, **changes) == 1
        assert fetch(b"old", b"new", seconds=-60, **changes) == 0


def test_a_copy_is_compared_once(fetch, tmp_path):
    assert fetch(b"same", b"same") == 0
    stored = Stored(tmp_path / "bricks.csv", b"other")
    storage.fetched(SimpleNamespace(is_storage=True, storage_object=stored))
    assert stored.fetched == 0
