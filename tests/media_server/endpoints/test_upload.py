"""media_server/endpoints/upload.py: files on their way in, through the route that takes them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media_server.endpoints.upload import BATCH_BYTES, title_of
from media_server.jobs.submission import Submission

BOUNDARY = "----boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
DATA = hashlib.shake_256(b"sound").digest(300_000)


def form(data: bytes | None = DATA, **fields: str) -> bytes:
    """A multipart body with this file and these fields."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if data is not None:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        parts.append(f"{head}Content-Type: audio/wav\r\n\r\n".encode() + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def post(server: Any, body: bytes | AsyncIterator[bytes], **more: Any) -> Any:
    return await server.ask("/dev/tracks", "POST", content=body, headers={**FORM, **more})


async def cut(body: bytes, places: list[int]) -> AsyncIterator[bytes]:
    for start, end in zip([0, *places], [*places, len(body)], strict=True):
        yield body[start:end]


async def nothing_is_left(server: Any) -> bool:
    folders = server.services.folders
    return not server.left_in(folders.incoming) and not await server.uploads()


async def test_an_upload_becomes_a_job_with_its_file(server: Any) -> None:
    """202 means durable: the message is in the queue, the file in its place, byte for byte."""
    answer = await post(server, form(title="Song"))
    assert answer.status_code == 202
    job = answer.json()
    assert (job["status"], job["title"]) == ("queued", "Song")
    delivery = await server.services.broker.receive()
    submission = Submission.model_validate_json(delivery.body)
    assert submission.upload is not None
    assert submission.upload.sha256 == hashlib.sha256(DATA).hexdigest()
    assert submission.upload.size_bytes == len(DATA)
    folders = server.services.folders
    assert (await server.uploads())[submission.upload.name] == DATA
    assert server.left_in(folders.incoming) == []
    assert server.services.uploads_running == 0


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, len(form())), max_size=12).map(sorted))
async def test_however_the_network_cuts_it_the_file_is_the_same(server: Any, places: list[int]) -> None:
    answer = await post(server, cut(form(), places))
    assert answer.status_code == 202
    assert (await server.uploads())[answer.json()["job_id"]] == DATA


async def test_a_file_of_many_batches_arrives_whole(server: Any) -> None:
    data = hashlib.shake_256(b"long").digest(3 * BATCH_BYTES + 17)
    body = form(data)
    answer = await post(server, cut(body, list(range(65_536, len(body), 65_536))))
    assert (await server.uploads())[answer.json()["job_id"]] == data


async def test_an_upload_without_a_file_is_refused(server: Any) -> None:
    answer = await post(server, form(None, title="Song"))
    assert (answer.status_code, answer.json()["code"]) == (400, "no_file")
    assert await nothing_is_left(server)


async def test_an_empty_file_is_refused(server: Any) -> None:
    """Bad inputs 1: the file is empty (0 bytes)."""
    answer = await post(server, form(b""))
    assert (answer.status_code, answer.json()["code"]) == (422, "empty")
    assert answer.json()["detail"] == "the file is empty (0 bytes)"
    assert await nothing_is_left(server)


@pytest.mark.parametrize(
    "content_type",
    ["application/octet-stream", "audio/wav", "application/x-www-form-urlencoded", "text/plain"],
)
async def test_another_content_type_is_refused(server: Any, content_type: str) -> None:
    answer = await server.ask("/dev/tracks", "POST", content=form(), headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert await nothing_is_left(server)


async def test_a_form_that_breaks_off_is_refused(server: Any) -> None:
    answer = await post(server, form()[:-10])
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_form")
    assert await nothing_is_left(server)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_file_over_the_limit_is_refused(start: Callable[..., Any], chunked: bool) -> None:
    """Contract: 413 too_large, with the limit; whether or not the length was said before."""
    server = start(max_source_bytes=len(DATA) - 1)
    answer = await post(server, cut(form(), [1000, 200_000]) if chunked else form())
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (413, "too_large")
    assert problem["limits"] == {"MAX_SOURCE_BYTES": len(DATA) - 1}
    assert await nothing_is_left(server)


async def test_a_file_at_the_limit_is_taken(start: Callable[..., Any]) -> None:
    server = start(max_source_bytes=len(DATA))
    assert (await post(server, form())).status_code == 202


async def test_a_length_over_the_limit_is_refused_before_a_byte_is_read(server: Any) -> None:
    """Also for who waits for `100 Continue`: it sends nothing in vain."""

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    length = str(server.services.settings.max_source_bytes * 2)
    headers = {**FORM, "content-length": length, "expect": "100-continue"}
    answer = await server.raw("POST", "/dev/tracks", headers, receive)
    assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_endless_fields_are_refused_too(start: Callable[..., Any]) -> None:
    """What a form may be larger than its file has a bound: unknown fields are skipped, but not for ever."""
    server = start(max_source_bytes=1000)
    answer = await post(server, cut(form(b"x", other="y" * 600_000), [300_000]))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


class Sender:
    """Sends what it is told, when it is told."""

    def __init__(self, *pieces: bytes) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.read_all = asyncio.Event()
        for piece in pieces:
            self.send(piece)

    def send(self, piece: bytes, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        if self.messages.empty():
            self.read_all.set()
        return await self.messages.get()


async def test_a_client_that_goes_away_leaves_nothing(server: Any) -> None:
    """No answer, no job, no file, and its place is free."""
    sender = Sender(form()[:BATCH_BYTES], b"x" * BATCH_BYTES)
    sending = asyncio.create_task(server.raw("POST", "/dev/tracks", FORM, sender.receive))
    await sender.read_all.wait()
    assert len(server.left_in(server.services.folders.incoming)) == 1
    sender.leave()
    answer = await sending
    assert answer.status == 0
    assert await nothing_is_left(server)
    assert server.services.uploads_running == 0
    assert (await server.services.state.list()).items == ()


async def test_a_server_that_stops_leaves_nothing(server: Any) -> None:
    """Cancellation in the middle of a body."""
    sender = Sender(form()[:1000])
    sending = asyncio.create_task(server.raw("POST", "/dev/tracks", FORM, sender.receive))
    await sender.read_all.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert await nothing_is_left(server)
    assert server.services.uploads_running == 0


async def test_more_uploads_than_allowed_are_asked_to_come_again(start: Callable[..., Any]) -> None:
    """MAX_CONCURRENT_UPLOADS: refused with Retry-After; the place is free again when one ends."""
    server = start(max_concurrent_uploads=1)
    sender = Sender(form()[:1000])
    first = asyncio.create_task(server.raw("POST", "/dev/tracks", FORM, sender.receive))
    await sender.read_all.wait()
    second = await post(server, form())
    assert (second.status_code, second.json()["code"]) == (429, "busy")
    assert second.headers["retry-after"] == "5"
    sender.send(form()[1000:], more=False)
    assert (await first).status == 202
    assert (await post(server, form(b"another"))).status_code == 202


async def test_a_full_disk_is_our_trouble(server: Any) -> None:
    """F16: 503, come again; here the folder is gone."""
    server.services.folders.incoming.rmdir()
    answer = await post(server, form())
    assert (answer.status_code, answer.json()["code"]) == (503, "disk")
    assert server.services.uploads_running == 0


@pytest.mark.parametrize(
    ("file_name", "title"),
    [
        ("song.flac", "song"),
        ("C:\\music\\My Song.final.wav", "My Song.final"),
        ("../../etc/passwd", "passwd"),
        (".mp3", ".mp3"),
        ("", None),
        ("x\x1b[31m.mp3", "x[31m"),
    ],
)
def test_a_track_that_nobody_named_is_called_like_its_file(file_name: str, title: str | None) -> None:
    """The name is for showing only: it is cleaned, and never becomes a path."""
    assert title_of(file_name) == title
