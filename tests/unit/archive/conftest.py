"""Fixtures of the download tests."""

import threading
from functools import partial

import pytest

from darkhaloscope.archive.checks import check_fits
from darkhaloscope.archive.download import fetch
from darkhaloscope.config.manga import Downloads
from unit.archive.misbehaving_server import Server


@pytest.fixture
def quick() -> Downloads:
    """Three retries, quickly given up."""
    return Downloads(retries=3, first_pause_s=0.5, timeout_s=5)


@pytest.fixture
def misbehaving():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def server(misbehaving):
    return misbehaving


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def get(server, tmp_path, pauses, quick):
    """Fetch the server's file to `folder/galaxy.fits.gz`, without really pausing."""
    return partial(
        fetch,
        server.url,
        tmp_path / "folder" / "galaxy.fits.gz",
        quick,
        check=partial(check_fits, extensions=["FLUX"]),
        sleep=pauses.append,
    )


@pytest.fixture
def get_named(server, tmp_path, pauses, quick):
    """Function that fetches the server's file under a name of the test's choice."""

    def get(name, **arguments):
        return fetch(server.url.replace("galaxy.fits.gz", name), tmp_path / "folder" / name, quick, sleep=pauses.append, **arguments)

    return get


@pytest.fixture
def left(tmp_path):
    """Names of what lies in the destination's folder, hidden files included."""
    return lambda: sorted(path.name for path in (tmp_path / "folder").iterdir())
