"""Tells the companion API how each job ended: at least once, in order for each track, for a day.

`judge` decides what an answer means; `CallbackSender` waits and sends.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
import orjson
import structlog

from media_server.broker.base import Outbox, PendingCallback
from media_server.errors import Unavailable
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.trace import TRACEPARENT, of_job

log = structlog.get_logger()

FINAL_STATUSES = frozenset({400, 409, 410, 422})
"""The target understood and refuses for good. 401, 403 and 404 may be a key rotation or a deploy."""

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 300.0
GIVE_UP_AFTER_S = 86_400.0
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 2.0, 10.0
ANSWER_WITHIN_S = 30.0
IDLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Done:
    """The target has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not this time; `delay_s` from now."""

    delay_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """For people to look at."""

    reason: str


def judge(
    status: int | None, retry_after: str | None, tries: int, age_s: float, chance: float
) -> Done | Again | Park:
    """What an answer means.

    Args:
        status: of the response, None where there was none.
        retry_after: the header, seconds or an HTTP date.
        tries: how often it was sent, this time included.
        age_s: since the job ended.
        chance: 0 to 1; spreads the waiting (full jitter).
    """
    if status is not None and 200 <= status < 300:
        return Done()
    reason = "no answer" if status is None else f"status {status}"
    if status in FINAL_STATUSES:
        return Park(reason)
    if age_s >= GIVE_UP_AFTER_S:
        return Park(f"given up after a day, last {reason}")
    backoff_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(tries, 20))
    asked_s = _seconds(retry_after)
    return Again(max(asked_s, backoff_s * chance, 0.5), reason)


def _seconds(retry_after: str | None) -> float:
    """Retry-After as seconds from now, 0 where it is absent or nonsense, never more than a day."""
    if not retry_after:
        return 0.0
    try:
        seconds = float(retry_after) if retry_after.isdecimal() else _until(retry_after)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), GIVE_UP_AFTER_S)


def _until(http_date: str) -> float:
    return (parsedate_to_datetime(http_date) - datetime.now(UTC)).total_seconds()


class CallbackSender:
    """Sends what the outbox holds until it is stopped."""

    def __init__(
        self, outbox: Outbox, settings: Settings, metrics: Metrics, now: Callable[[], float]
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._metrics = metrics
        self._now = now
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        self._client = httpx2.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`; what is not delivered by then stays in the outbox."""
        async with self._client:
            while not stop.is_set():
                if not await self._sent_one():
                    await _wait(stop, IDLE_S)

    async def drain(self) -> None:
        """Send what is due now, once each."""
        async with self._client:
            while await self.send_one():
                pass

    async def _sent_one(self) -> bool:
        try:
            return await self.send_one()
        except Unavailable as error:  # what was claimed is sent again under the same key
            log.warning("callback.outbox_failed", code=error.code, reason=error.message)
            return False

    async def send_one(self) -> bool:
        """Send the next callback that is due; False if there is none."""
        pending = await self._outbox.claim()
        if pending is None:
            return False
        status, retry_after = await self._post(pending)
        age_s = self._now() - pending.created_at
        verdict = judge(status, retry_after, pending.tries, age_s, random.random())  # noqa: S311 - jitter, not a secret
        context = {"job_id": pending.job_id, "track_id": pending.track_id, "tries": pending.tries}
        match verdict:
            case Done():
                await self._outbox.done(pending.id)
                log.info("callback.delivered", **context)
            case Again(delay_s, reason):
                await self._outbox.again(pending.id, delay_s, reason)
                log.warning("callback.retry", delay_s=round(delay_s, 1), reason=reason, **context)
            case Park(reason):
                await self._outbox.park(pending.id, reason)
                log.error("callback.parked", reason=reason, **context)
        self._metrics.callbacks_parked((await self._outbox.counts()).parked)
        return True

    async def _post(self, pending: PendingCallback) -> tuple[int | None, str | None]:
        path = self._settings.stream_ready_path.format(track_id=pending.track_id)
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": pending.job_id,
            TRACEPARENT: pending.traceparent or of_job(pending.job_id),
        }
        if self._settings.internal_api_key:
            headers[self._settings.internal_api_key_header] = (
                self._settings.internal_api_key.get_secret_value()
            )
        url = self._settings.backend_api_url.rstrip("/") + path
        body = orjson.dumps(pending.body)
        try:
            # the status is all that counts: a body that drips or has no end is not read
            async with (
                asyncio.timeout(ANSWER_WITHIN_S),
                self._client.stream("POST", url, content=body, headers=headers) as response,
            ):
                return response.status_code, response.headers.get("Retry-After")
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            log.debug("callback.unreachable", kind=type(error).__name__)
            return None, None


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
