"""Results in object storage: names of Snakemake's local copies, records of jobs, and what is checked before a run.

Under a default storage provider (profiles/s3) Snakemake gives each job local copies of its files below
`.snakemake/storage`, and stores what the job made. Logs and records should say where a file is, not where its copy was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .locations import VARIABLE
from .provenance import FOLDER, record_path


class RemoteRecord:
    """A record in a bucket, read when it is asked for."""

    def __init__(self, item: Any, address: str) -> None:
        self._item, self._address = item, address

    def __str__(self) -> str:
        return self._address

    def read_text(self, encoding: str) -> str:
        """Return what it holds."""
        return self._item.get()["Body"].read().decode(encoding)


def begin(workflow: Any) -> None:
    """Tell scripts where results are, let records travel with them, and make sure that the bucket can be used.

    A record is declared as one of its rule's logs: Snakemake stores logs, and never runs a job because one is missing.

    Raises
    ------
    WorkflowError
        There is no such bucket, it does not let us in, or the server does not answer.
    """
    os.environ.pop(VARIABLE, None)
    provider = workflow.storage_registry.default_storage_provider
    if provider is None:
        return
    from snakemake.io import local, strip_wildcard_constraints

    start = prefix(workflow)
    if workflow.is_main_process and start.startswith("s3://"):
        _reach(provider, start)
    os.environ[VARIABLE] = json.dumps([str(provider.local_prefix), start])
    for rule in workflow.rules:
        if rule.output:
            first = rule.output[0]
            path = str(record_path(strip_wildcard_constraints(pattern(workflow, first).removeprefix(start))))
            rule.set_log(record=path if first.is_storage else local(path))


def pattern(workflow: Any, output: Any) -> str:
    """Return the pattern of a rule's output as results are named: a path, or an address in object storage."""
    return output.storage_object.query if output.is_storage else str(output)


def records(workflow: Any, root: str) -> Iterator[tuple[str, RemoteRecord]]:
    """Give the address of every result in the bucket that has a record, and that record; nothing for other kinds of storage."""
    start = prefix(workflow)
    if not start.startswith("s3://"):
        return
    name, _, folder = start.removeprefix("s3://").partition("/")
    bucket = workflow.storage_registry.default_storage_provider.s3c.Bucket(name)
    found = {item.key: item for item in bucket.objects.filter(Prefix=f"{folder}{os.path.normpath(root)}/")}
    there = {*found, *map(os.path.dirname, found)}
    for key in sorted(found):
        place, file = os.path.split(key)
        output = os.path.join(os.path.dirname(place), file.removesuffix(".json"))
        if os.path.basename(place) == FOLDER and output in there:
            yield f"s3://{name}/{output}", RemoteRecord(found[key].Object(), f"s3://{name}/{key}")


def fetched(file: Any) -> str:
    """Return the path of a checkpoint's output, fetched where Snakemake has deleted its local copy or it is not the stored one."""
    if file.is_storage:
        copy = Path(file.storage_object.local_path())
        if not copy.exists() or _differs(copy, file.storage_object):
            copy.parent.mkdir(parents=True, exist_ok=True)
            file.storage_object.retrieve_object()
    return str(file)


_compared: set[tuple[str, int]] = set()


def _differs(copy: Path, stored: Any) -> bool:
    """Compare each copy once: input functions ask for it again for every job.

    Size and, where the store gives the MD5 of an object as its ETag, content decide. An object of several parts or under a key of the store's has another
    ETag: then the later of two times does, and a machine's clock that is ahead of the store's would keep an old copy of the same size.
    """
    found = copy.stat()
    version = (str(copy), found.st_mtime_ns)
    if version in _compared:
        return False
    _compared.add(version)
    if copy.is_dir():
        return found.st_mtime < stored.mtime()
    if found.st_size != stored.size():
        return True
    item = stored.s3obj() if hasattr(stored, "s3obj") else None
    tag = getattr(item, "e_tag", "").strip('"')
    if re.fullmatch(r"[0-9a-f]{32}", tag) and getattr(item, "server_side_encryption", None) in (None, "AES256"):
        return hashlib.md5(copy.read_bytes(), usedforsecurity=False).hexdigest() != tag
    return found.st_mtime < stored.mtime()


def prefix(workflow: Any) -> str:
    """Return what the addresses of all results begin with, a slash at its end; nothing where results stay here."""
    found = workflow.storage_settings.default_storage_prefix or ""
    return found if not found or found.endswith("/") else f"{found}/"


def _reach(provider: Any, prefix: str) -> None:
    """Ask for the bucket once: Snakemake would take a missing one for an empty one and make it, and call a refusal a missing file."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from snakemake.exceptions import WorkflowError

    bucket = prefix.removeprefix("s3://").partition("/")[0]
    client = provider.s3c.meta.client
    wanted = f"Results go to {prefix} on {client.meta.endpoint_url} (default-storage-prefix, AWS_ENDPOINT_URL_S3)"
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == 404:
            found = f"there is no bucket '{bucket}': make it with `aws s3 mb s3://{bucket}`, or correct the prefix"
        elif status in (400, 401, 403):
            found = (
                f"the server refuses bucket '{bucket}' (HTTP {status}): the credentials found are not valid there or may not use it. Correct "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or choose others with AWS_PROFILE; they need s3:ListBucket, s3:GetObject, "
                "s3:PutObject and s3:DeleteObject"
            )
        else:
            found = f"asking for bucket '{bucket}' ended with HTTP {status}: check bucket, AWS_DEFAULT_REGION and server"
    except NoCredentialsError:
        found = f"no credentials were found for bucket '{bucket}': set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    except (BotoCoreError, ValueError) as error:
        found = (
            f"bucket '{bucket}' cannot be asked for ({error}): check the network and the server's address, then give the same command again"
        )
    else:
        return
    raise WorkflowError(f"{wanted}, but {found}.")
