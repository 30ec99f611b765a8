"""An S3 server on 127.0.0.1 (moto) that checks signatures and rights, with one bucket and one user."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import requests
from moto.server import ThreadedMotoServer

BUCKET = "halo-tests"
REGION = "us-east-1"
RIGHTS = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


@dataclass(frozen=True)
class Storage:
    """A running server, and the keys of a user who may do everything in it."""

    endpoint: str
    key: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to speak with the server, and nothing that leads elsewhere."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    @property
    def bucket(self):
        """The bucket as boto3 sees it."""
        login = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret}
        return boto3.resource("s3", endpoint_url=self.endpoint, region_name=REGION, **login).Bucket(BUCKET)


@contextlib.contextmanager
def storage_server() -> Iterator[Storage]:
    """Run a server with an empty bucket until the block ends."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        _check_rights(endpoint, "inf")
        anyone = {"aws_access_key_id": "anyone", "aws_secret_access_key": "anyone", "endpoint_url": endpoint, "region_name": REGION}
        people = boto3.client("iam", **anyone)
        people.create_user(UserName="astronomer")
        people.put_user_policy(UserName="astronomer", PolicyName="all", PolicyDocument=RIGHTS)
        keys = people.create_access_key(UserName="astronomer")["AccessKey"]
        boto3.client("s3", **anyone).create_bucket(Bucket=BUCKET)
        _check_rights(endpoint, "0")
        yield Storage(endpoint, keys["AccessKeyId"], keys["SecretAccessKey"])
    finally:
        _check_rights(endpoint, "inf")
        requests.post(f"{endpoint}/moto-api/reset", timeout=30)
        server.stop()


def _check_rights(endpoint: str, after: str) -> None:
    """Let the server check signatures and rights after so many requests."""
    requests.post(f"{endpoint}/moto-api/reset-auth", data=after, timeout=30)
