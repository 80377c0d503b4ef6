"""The companion API hears how each job ended: at least once, in order, for a day."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from media_server.jobs.callback import (
    FINAL_STATUSES,
    GIVE_UP_AFTER_S,
    LONGEST_BACKOFF_S,
    Again,
    CallbackSender,
    Done,
    Park,
    judge,
)
from media_server.metrics import Metrics
from media_server.trace import of_job


@pytest.mark.parametrize("status", [200, 201, 204])
def test_any_2xx_ends_it(status: int) -> None:
    assert judge(status, None, 1, 0, 0.5) == Done()


@pytest.mark.parametrize("status", sorted(FINAL_STATUSES))
def test_a_final_refusal_parks_it(status: int) -> None:
    """contract: 400, 409, 410, 422 are final."""
    assert isinstance(judge(status, None, 1, 0, 0.5), Park)


@pytest.mark.parametrize("status", [None, 301, 302, 401, 403, 404, 408, 429, 500, 503])
def test_everything_else_is_tried_again(status: int | None) -> None:
    """contract: a key rotation or a deploy must not strand a track."""
    assert isinstance(judge(status, None, 1, 0, 0.5), Again)


def test_after_a_day_it_is_parked() -> None:
    assert isinstance(judge(503, None, 9, GIVE_UP_AFTER_S, 0.5), Park)


@pytest.mark.parametrize("tries", [1, 5, 30, 10_000])
def test_the_wait_has_full_jitter_and_a_bound(tries: int) -> None:
    """F15: full jitter, 1 s to 5 min."""
    low, high = judge(503, None, tries, 0, 0.0), judge(503, None, tries, 0, 1.0)
    assert isinstance(low, Again)
    assert isinstance(high, Again)
    assert 0 < low.delay_s <= high.delay_s <= LONGEST_BACKOFF_S


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured_in_both_spellings(as_date: bool) -> None:
    header = formatdate(time.time() + 121, usegmt=True) if as_date else "120"
    verdict = judge(429, header, 1, 0, 0.0)
    assert isinstance(verdict, Again)
    assert 110 < verdict.delay_s < 130


@given(st.text(max_size=40))
@example("-5")
@example("9" * 400)
@example("9" * 5000)
@example("Mon, 01 Jan 2035 00:00:00 -0000")
@example("Mon, 01 Jan 2035 00:00:00 +999999999999")
@example("Mon, 01 Jan 9999999 00:00:00 GMT")
def test_nonsense_in_retry_after_does_no_harm(header: str) -> None:
    verdict = judge(429, header, 1, 0, 0.0)
    assert isinstance(verdict, Again)
    assert 0 < verdict.delay_s <= GIVE_UP_AFTER_S


@given(tries=st.integers(1, 10_000), chance=st.floats(0, 1), asked_s=st.integers(0, 10**6))
def test_the_wait_is_the_longer_of_what_was_asked_and_the_backoff(
    tries: int, chance: float, asked_s: int
) -> None:
    verdict = judge(503, str(asked_s), tries, 0, chance)
    assert isinstance(verdict, Again)
    backoff_s = min(LONGEST_BACKOFF_S, 2.0 ** min(tries, 20)) * chance
    assert verdict.delay_s == pytest.approx(max(0.5, backoff_s, min(asked_s, GIVE_UP_AFTER_S)))


class Target:
    """A companion API that answers by a script."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[str, dict[str, str], dict[str, object]]] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target.got.append((self.path, dict(self.headers), json.loads(body)))
                self.send_response(target.answers.pop(0) if target.answers else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def target() -> Iterator[Target]:
    target = Target()
    thread = threading.Thread(target=target.server.serve_forever, daemon=True)
    thread.start()
    yield target
    target.server.shutdown()
    thread.join()
    target.server.server_close()


def sender_to(embedded, url: str) -> CallbackSender:
    settings = embedded.settings.model_copy(update={"backend_api_url": url})
    return CallbackSender(embedded.outbox, settings, Metrics(), time.time)


async def test_it_is_posted_with_its_key_and_its_sequence(embedded, target: Target) -> None:
    """contract, callback: JSON, Idempotency-Key: job id."""
    delivery = await embedded.deliver(embedded.upload(b"no audio"))
    await embedded.handler.handle(delivery)
    await sender_to(embedded, target.url).drain()
    ((path, headers, body),) = target.got
    assert path == f"/api/v1/internal/tracks/{body['track_id']}/stream-ready"
    assert headers["Idempotency-Key"] == delivery.job_id == body["job_id"]
    assert (body["status"], body["attempt"], body["sequence"]) == ("failed", 1, 1)
    counts = await embedded.outbox.counts()
    assert (counts.pending, counts.parked) == (0, 0)


@pytest.mark.parametrize("given", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
async def test_it_belongs_to_the_trace_of_who_asked_or_to_one_of_its_own(
    embedded, target: Target, given: str | None
) -> None:
    """contract, callback: `traceparent`; every telling of a job belongs to one trace."""
    submission = embedded.upload(b"no audio").model_copy(update={"traceparent": given})
    delivery = await embedded.deliver(submission)
    await embedded.handler.handle(delivery)
    target.answers = [503]
    sender = sender_to(embedded, target.url)
    async with asyncio.timeout(30):
        while len(target.got) < 2:
            await sender.send_one()
    assert {headers["traceparent"] for _, headers, _ in target.got} == {given or of_job(delivery.job_id)}


async def test_a_redirect_is_not_followed_and_a_refusal_is_parked(embedded, target: Target) -> None:
    delivery = await embedded.deliver(embedded.upload(b"no audio"))
    await embedded.handler.handle(delivery)
    target.answers = [302]
    await sender_to(embedded, target.url).send_one()
    assert [path for path, _, _ in target.got] != ["/elsewhere"]
    assert (await embedded.outbox.counts()).pending == 1


async def test_an_answer_whose_body_never_ends_holds_up_nobody(embedded) -> None:
    """F15: the status is all that counts; one sender serves all tracks."""
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nslowly")
        await writer.drain()
        await over.wait()
        writer.close()

    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            assert await sender_to(embedded, f"http://127.0.0.1:{port}").send_one()
        over.set()
    assert (await embedded.outbox.counts()).pending == 0


async def test_a_410_is_parked_for_people(embedded, target: Target) -> None:
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    target.answers = [410]
    await sender_to(embedded, target.url).drain()
    (parked,) = await embedded.outbox.parked()
    assert "410" in parked.error


async def test_an_unreachable_target_keeps_it(embedded) -> None:
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    assert await sender_to(embedded, "http://127.0.0.1:9").send_one()
    assert (await embedded.outbox.counts()).pending == 1


async def test_an_outbox_that_is_out_of_reach_for_a_while_does_not_end_it(embedded, target: Target) -> None:
    """Another process keeps the database locked for too long."""
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    stop = asyncio.Event()
    async with asyncio.timeout(30):
        with capture_logs() as lines:
            async with embedded.locked():
                running = asyncio.create_task(sender_to(embedded, target.url).run(stop))
                while "callback.outbox_failed" not in [line["event"] for line in lines]:  # noqa: ASYNC110 - it is all it shows
                    await asyncio.sleep(0)
        while (await embedded.outbox.counts()).pending:  # noqa: ASYNC110 - its counts are all it shows
            await asyncio.sleep(0)
        stop.set()
        await running
    assert len(target.got) == 1


async def test_it_stops_when_told_to(embedded) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(sender_to(embedded, "http://127.0.0.1:9").run(stop))
    stop.set()
    async with asyncio.timeout(10):
        await running


async def test_the_key_goes_along_under_the_header_it_was_given(embedded, target: Target) -> None:
    """contract: the internal key header."""
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    key = "an-internal-key-of-the-tests-0123456789"
    settings = embedded.settings.model_copy(
        update={
            "backend_api_url": target.url,
            "internal_api_key": SecretStr(key),
            "internal_api_key_header": "X-Other-Key",
        }
    )
    await CallbackSender(embedded.outbox, settings, Metrics(), time.time).drain()
    ((_, headers, _),) = target.got
    assert headers["X-Other-Key"] == key
    assert headers["Content-Type"] == "application/json"


async def test_no_proxy_of_the_environment_hears_it(
    embedded, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    await sender_to(embedded, target.url).drain()
    assert len(target.got) == 1


@pytest.mark.parametrize("url", ["http://[", "ftp://127.0.0.1", "localhost"])
async def test_an_address_that_is_none_keeps_it_and_the_sender_alive(embedded, url: str) -> None:
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    assert await sender_to(embedded, url).send_one()
    assert (await embedded.outbox.counts()).pending == 1


async def test_what_is_parked_is_counted(embedded, target: Target) -> None:
    """contract, metrics: veza_stream_callbacks_parked."""
    await embedded.handler.handle(await embedded.deliver(embedded.upload(b"no audio")))
    target.answers = [422]
    metrics = Metrics()
    settings = embedded.settings.model_copy(update={"backend_api_url": target.url})
    await CallbackSender(embedded.outbox, settings, metrics, time.time).drain()
    assert b"veza_stream_callbacks_parked 1.0" in metrics.render()


async def test_nothing_to_send_is_said(embedded) -> None:
    assert not await sender_to(embedded, "http://127.0.0.1:9").send_one()
