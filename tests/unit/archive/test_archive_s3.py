"""Archives in object storage: from a server that checks signatures (moto), and from one that misbehaves."""

import hashlib
import io
import logging
from urllib.parse import urlsplit

import boto3
import pytest
from astropy.io import fits

from darkhaloscope.archive.checks import WrongChecksum
from darkhaloscope.archive.download import DownloadFailed, NotFound, Refused, fetch
from darkhaloscope.config.manga import Archive, Downloads
from darkhaloscope.ifu.manga.retrieve import retrieve_catalog
from object_storage import BUCKET, Storage, storage_server
from unit.archive.misbehaving_server import CONTENT, Answer

KEY = "dr17/galaxy one.fits.gz"
URL = f"s3://{BUCKET}/{KEY}"
ONCE = Downloads(retries=0, first_pause_s=0, timeout_s=5)


@pytest.fixture(scope="module")
def server():
    with storage_server() as running:
        running.bucket.put_object(Key=KEY, Body=CONTENT)
        yield running


@pytest.fixture
def storage(server, monkeypatch) -> Storage:
    """The server, with this process's environment set to its user."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def test_an_object_arrives_whole_and_checked(storage, tmp_path):
    done = fetch(URL, tmp_path / "galaxy.fits.gz", ONCE, sha1=hashlib.sha1(CONTENT).hexdigest())
    assert (done.path.read_bytes(), done.bytes, done.attempts) == (CONTENT, len(CONTENT), 1)
    assert [p.name for p in tmp_path.iterdir()] == ["galaxy.fits.gz"]
    with pytest.raises(WrongChecksum, match=rf"address: {URL}"):
        fetch(URL, tmp_path / "other.fits.gz", ONCE, sha1=hashlib.sha1(b"other").hexdigest())


def test_a_sample_whose_base_is_a_bucket(storage, tmp_path, caplog):
    content = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(name="MANGA")]).writeto(content)
    folder, sums = "dr17/redux/v3_1_1", "manga_spectro_redux_v3_1_1.sha1sum"
    storage.bucket.put_object(Key=f"{folder}/drpall-v3_1_1.fits", Body=content.getvalue())
    line = f"{hashlib.sha1(content.getvalue()).hexdigest()}  drpall-v3_1_1.fits\n"
    storage.bucket.put_object(Key=f"{folder}/{sums}", Body=line.encode())
    with caplog.at_level(logging.INFO):
        done = retrieve_catalog(Archive(base=f"s3://{BUCKET}/dr17"), "drpall", tmp_path / "drpall.fits", ONCE)
    assert done.path.read_bytes() == content.getvalue()
    assert "checksum as published" in caplog.text


def test_a_missing_object_and_a_missing_bucket_are_told_apart(storage, tmp_path):
    with pytest.raises(NotFound, match=rf"s3://{BUCKET}/none.fits .* from {storage.endpoint} \(NoSuchKey\).* no object 'none.fits'; check"):
        fetch(f"s3://{BUCKET}/none.fits", tmp_path / "a", ONCE)
    with pytest.raises(NotFound, match=r"\(NoSuchBucket\): there is no bucket 'elsewhere'; correct .*AWS_ENDPOINT_URL_S3"):
        fetch("s3://elsewhere/a.fits", tmp_path / "a", ONCE)
    with pytest.raises(Refused, match=r"s3://BUCKET/KEY"):
        fetch("s3://elsewhere", tmp_path / "a", ONCE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variable", "code"), [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")]
)
def test_wrong_credentials_are_named_and_not_shown(storage, tmp_path, monkeypatch, caplog, variable, code):
    monkeypatch.setenv(variable, "wrongwrong")
    with caplog.at_level(logging.DEBUG, "darkhaloscope"), pytest.raises(Refused) as caught:
        fetch(URL, tmp_path / "a", Downloads(retries=2, first_pause_s=0))
    assert f"{URL} cannot be had from {storage.endpoint} ({code}): the credentials found are not valid there" in str(caught.value)
    assert "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(caught.value)
    for secret in ("wrongwrong", storage.secret):
        assert secret not in str(caught.value) + caplog.text


def test_a_profile_that_does_not_exist(storage, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Refused, match=r"s3://halo-tests/.* cannot be asked for: .*nobody.*AWS_PROFILE"):
        fetch(URL, tmp_path / "a", ONCE)


@pytest.fixture
def faulty(misbehaving, monkeypatch):
    """The misbehaving server in the place of an S3 server."""
    address = urlsplit(misbehaving.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{address.scheme}://{address.netloc}")
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "thesecret", "AWS_DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(name, value)
    return misbehaving


def test_a_broken_transfer_goes_on_where_it_stopped(faulty, tmp_path):
    faulty.script(Answer(stop=len(CONTENT) // 2, end="reset"))
    done = fetch(
        "s3://any/galaxy.fits.gz", tmp_path / "a.fits.gz", Downloads(retries=2, first_pause_s=0, timeout_s=5), sleep=lambda s: None
    )
    assert done.path.read_bytes() == CONTENT and done.resumed and done.attempts == 2
    first, second = faulty.requests
    assert "Credential=key/" in first["Authorization"] and "/eu-west-1/s3/aws4_request" in first["Authorization"]
    assert second["Range"].startswith("bytes=") and second["If-Range"] == '"one"'
    assert "thesecret" not in str(dict(first)) + str(dict(second))


def test_a_server_that_does_not_answer(storage, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with caplog.at_level(logging.DEBUG, "darkhaloscope"), pytest.raises(DownloadFailed) as caught:
        fetch(URL, tmp_path / "a", Downloads(retries=1, first_pause_s=0), sleep=lambda s: None)
    assert f"{URL} could not be fetched in 2 attempts" in str(caught.value) and "host='127.0.0.1', port=9" in str(caught.value)
    assert "Check the network and the address and AWS_ENDPOINT_URL_S3" in str(caught.value)
    assert storage.secret not in str(caught.value) + caplog.text and not list(tmp_path.iterdir())


def test_without_credentials_requests_go_unsigned(faulty, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name, value in Storage("", "", "").environment.items():
        if value and not name.startswith("AWS_ENDPOINT"):
            monkeypatch.setenv(name, value)
    assert boto3.Session().get_credentials() is None
    fetch("s3://any/galaxy.fits.gz", tmp_path / "a.fits.gz", ONCE)
    assert "Authorization" not in faulty.requests[0]
