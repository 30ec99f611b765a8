"""Files of an archive in object storage: what an address `s3://bucket/key` is over HTTP, and what the server's refusals mean.

Server, region and credentials come from where every S3 tool looks (environment, ~/.aws, the machine's role): AWS_ENDPOINT_URL_S3,
AWS_DEFAULT_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Without credentials requests go unsigned, which
public buckets answer. The transfer itself (streaming, resuming, retries, checks) is that of every other address.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import requests

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

DEFAULT_REGION = "us-east-1"
_CODE = re.compile(r"<Code>(\w+)</Code>")


class BadSettings(Exception):
    """Region, profile, server or credentials cannot be used; the message says why."""


class Signature(requests.auth.AuthBase):
    """Signs each request with the credentials that were found; the secret itself is never sent."""

    def __init__(self, credentials: ReadOnlyCredentials | None, region: str) -> None:
        self._credentials, self._region = credentials, region

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._credentials is not None:
            from botocore.auth import S3SigV4Auth
            from botocore.awsrequest import AWSRequest

            signed = AWSRequest(method=request.method, url=request.url)
            S3SigV4Auth(self._credentials, "s3", self._region).add_auth(signed)
            request.headers.update(dict(signed.headers.items()))
        return request


def http_address(url: str) -> tuple[str, Signature]:
    """Return the HTTP address of an `s3://` address and what signs requests for it.

    Raises
    ------
    BadSettings
        The address names no object, or boto3 cannot read its settings.
    """
    # Half a second to import, which files at other addresses need not wait.
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    bucket, key = _parts(url)
    if not bucket or not key:
        raise BadSettings("it should be s3://BUCKET/KEY")
    try:
        session = boto3.Session()
        region = session.region_name or DEFAULT_REGION
        found = session.get_credentials()
        credentials = found.get_frozen_credentials() if found is not None else None
        client = session.client("s3", region_name=region, config=Config(signature_version=UNSIGNED))
        return client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}), Signature(credentials, region)
    except (BotoCoreError, ValueError) as error:
        raise BadSettings(str(error)) from error


def refusal(response: requests.Response, url: str) -> str:
    """Return in words what an error response of an S3 server means, and what to do."""
    bucket, key = _parts(url)
    code = match[1] if (match := _CODE.search(response.text)) else f"HTTP {response.status_code}"
    server = "{0.scheme}://{0.netloc}".format(urlsplit(response.url))
    words = {
        "NoSuchBucket": f"there is no bucket '{bucket}'; correct the bucket in the archive's base address, or name the server that has it "
        "with AWS_ENDPOINT_URL_S3",
        "NoSuchKey": f"bucket '{bucket}' has no object '{key}'; check the archive's base address, versions and the name in the config",
        "AccessDenied": f"the credentials found (or none) may not read bucket '{bucket}', or the object does not exist; "
        "ask for s3:GetObject and s3:ListBucket on it, or choose others with AWS_PROFILE",
    }
    wrong = (
        "the credentials found are not valid there; correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose others with AWS_PROFILE"
    )
    words |= dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"), wrong)
    other = "check bucket and key in the address, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_S3"
    return f"{url} cannot be had from {server} ({code}): {words.get(code, other)}"


def _parts(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, unquote(key)
