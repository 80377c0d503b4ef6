"""What a scanner finds never becomes a track, and what nobody scanned is said or waited for."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from servers.clamd import (
    INFECTION,
    MAX_FILE_BYTES,
    MAX_STREAM_BYTES,
    SIGNATURE,
    NotInstalledError,
    PrivateClamd,
)
from servers.ports import free_ports

from media_server.errors import Denied, LimitExceeded, ServiceError, Unavailable
from media_server.jobs import antivirus
from media_server.jobs.antivirus import CHUNK_BYTES, MAX_ANSWER_BYTES, judge, ping, scan, screen
from media_server.jobs.job import JobState
from media_server.settings import Settings


@pytest.fixture(scope="module")
def clamd() -> Iterator[PrivateClamd]:
    try:
        server = PrivateClamd()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "src.bin"
    path.write_bytes(random.Random(1).randbytes(3 * CHUNK_BYTES + 17))
    return path


async def scanned(path: Path, address: str) -> None:
    await scan(path, path.stat().st_size, address)


def settings(address: str, *, required: bool) -> Settings:
    return Settings(clamav_address=address, clamav_required=required, _env_file=None)


# --- clamd itself -----------------------------------------------------------------------------------------


async def test_a_clean_file_passes_over_either_kind_of_socket(clamd: PrivateClamd, source: Path) -> None:
    for address in (clamd.path, f"127.0.0.1:{clamd.port}", f"localhost:{clamd.port}"):
        await ping(address)
        await scanned(source, address)


@pytest.mark.parametrize("at", [0, CHUNK_BYTES - 5, 3 * CHUNK_BYTES])
async def test_what_the_scanner_finds_is_named(clamd: PrivateClamd, source: Path, at: int) -> None:
    """Also across the border of two chunks: clamd puts the stream together again."""
    content = source.read_bytes()
    source.write_bytes(content[:at] + INFECTION + content[at:])
    with pytest.raises(Denied, match=rf"found {SIGNATURE}\S* in the source") as caught:
        await scanned(source, clamd.path)
    assert caught.value.code == "infected"


@pytest.mark.parametrize(
    ("size_bytes", "setting"),
    [(MAX_FILE_BYTES + 1, "MaxFileSize"), (MAX_STREAM_BYTES + 1, "StreamMaxLength")],
)
async def test_what_is_too_large_for_the_scanner_is_no_clean_file(
    clamd: PrivateClamd, tmp_path: Path, size_bytes: int, setting: str
) -> None:
    """clamd breaks off in the middle of the stream, or says at its end that it did not look."""
    path = tmp_path / "src.bin"
    path.write_bytes(bytes(size_bytes) + INFECTION)
    for address in (clamd.path, f"127.0.0.1:{clamd.port}"):
        with pytest.raises(LimitExceeded, match=setting) as caught:
            await scanned(path, address)
        assert caught.value.code == "too_large_to_scan"


async def test_an_infected_upload_ends_its_job_and_is_deleted(
    embedded, song: bytes, clamd: PrivateClamd
) -> None:
    """requirements I14: found -> failed, `infected`; once, and nothing of it is kept."""
    embedded.handler._settings = settings(clamd.path, required=False)
    delivery = await embedded.deliver(embedded.upload(song + INFECTION))
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.error.code, job.error.retryable) == (JobState.FAILED, "infected", False)
    assert SIGNATURE in job.error.message
    assert (await embedded.outbox.claim()).body["error"]["code"] == "infected"
    assert not list((embedded.folders.storage / "uploads").iterdir())
    assert not list(embedded.folders.attempts.iterdir())


# --- a scanner that is ill --------------------------------------------------------------------------------


@asynccontextmanager
async def answering(answer: bytes, after_bytes: int = 1) -> AsyncIterator[str]:
    """The address of a scanner that answers so after as many bytes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(after_bytes)
        writer.write(answer)
        writer.close()
        with contextlib.suppress(ConnectionError):  # it did not take all that was sent
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    "answer",
    [b"", b"\0", b"UNKNOWN COMMAND\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x" * 2 * MAX_ANSWER_BYTES],
)
async def test_what_is_no_answer_is_a_scanner_that_is_down(source: Path, answer: bytes) -> None:
    async with answering(answer) as address:
        with pytest.raises(Unavailable) as caught:
            await scanned(source, address)
        assert caught.value.code == "antivirus"
        with pytest.raises(Unavailable):
            await ping(address)


@pytest.mark.parametrize("where", ["127.0.0.1:{port}", "/nowhere/clamd.sock", "nobody.invalid:3310"])
async def test_a_scanner_that_nobody_runs_is_down(source: Path, where: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await scanned(source, where.format(port=free_ports(1)[0]))
    assert caught.value.code == "antivirus"


async def test_a_scanner_that_hangs_is_down_at_the_deadline(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(antivirus, "SCAN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match="does not answer in time"):
            await scanned(source, address)


async def test_an_answer_is_heard_though_the_scanner_closed_while_it_was_sent_to(tmp_path: Path) -> None:
    """The end of clamd's patience: what it said before it hung up is the reason, not the broken pipe."""
    path = tmp_path / "src.bin"
    path.write_bytes(bytes(8 << 20))
    for _ in range(20):
        async with answering(b"INSTREAM size limit exceeded. ERROR\0", after_bytes=100) as address:
            with pytest.raises(LimitExceeded, match="StreamMaxLength"):
                await scanned(path, address)


# --- what becomes of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        ("stream: OK", None, None),
        ("stream: Win.Test.EICAR_HDB-1 FOUND", Denied, "infected"),
        ("stream: \x1b[31m<b>\r\n FOUND", Denied, "infected"),
        ("stream: Heuristics.Limits.Exceeded.MaxScanSize FOUND", LimitExceeded, "too_large_to_scan"),
        ("INSTREAM size limit exceeded. ERROR", LimitExceeded, "too_large_to_scan"),
        ("stream: Can't allocate memory ERROR", Unavailable, "antivirus"),
        ("OK", Unavailable, "antivirus"),
        ("PONG", Unavailable, "antivirus"),
    ],
)
def test_each_answer_has_its_meaning(answer: str, error: type[ServiceError] | None, code: str | None) -> None:
    if error is None:
        judge(answer)
        return
    with pytest.raises(error) as caught:
        judge(answer)
    assert caught.value.code == code
    assert caught.value.message.isprintable()
    assert "<" not in caught.value.message


async def test_without_a_scanner_nothing_is_said(source: Path) -> None:
    assert await screen(source, 1, Settings(_env_file=None)) == ()


@pytest.mark.parametrize(
    ("answer", "error"), [(b"", Unavailable), (b"INSTREAM size limit exceeded. ERROR\0", LimitExceeded)]
)
async def test_what_cannot_be_scanned_waits_or_fails_only_where_a_scan_is_required(
    source: Path, answer: bytes, error: type[Exception]
) -> None:
    async with answering(answer) as address:
        assert await screen(source, 1, settings(address, required=False)) == ("not_scanned",)
        with pytest.raises(error):
            await screen(source, 1, settings(address, required=True))


async def test_a_find_counts_even_where_no_scan_is_required(source: Path) -> None:
    async with answering(b"stream: X FOUND\0") as address:
        with pytest.raises(Denied):
            await screen(source, 1, settings(address, required=False))


async def test_a_track_that_nobody_scanned_says_so(embedded, song: bytes) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    embedded.handler._settings = settings(nobody, required=False)
    delivery = await embedded.deliver(embedded.upload(song))
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.warnings) == (JobState.COMPLETED, ("not_scanned",))
    assert job.result["warnings"] == ["not_scanned"]


async def test_a_required_scanner_that_is_down_holds_the_job_back(embedded, song: bytes) -> None:
    embedded.handler._settings = settings(f"127.0.0.1:{free_ports(1)[0]}", required=True)
    delivery = await embedded.deliver(embedded.upload(song))
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.error) == (JobState.QUEUED, None)
    assert await embedded.broker.receive() is None  # it comes again, later
