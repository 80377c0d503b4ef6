"""What can happen to a Redis: it is gone, frozen, emptied, full, a replica; and what it is asked to keep.

What every state does is held by tests/contract/test_state.py. Source: reliability F11, F17.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import secrets
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis import Redis
from servers.ports import free_ports
from servers.redis import NotInstalledError, PrivateRedis

from media_server.errors import Unavailable
from media_server.jobs.job import Job, JobState
from media_server.state.base import TrackSummary
from media_server.state.redis import DEADLINE_S, RedisState

JOB = Job(job_id="job", track_id="track", created_at="2026-01-01T00:00:01.000Z")
TRACK = TrackSummary(
    track_id="track",
    title=None,
    artist=None,
    duration_s=241.37,
    visibility="public",
    user_id=None,
    created_at="2026-01-01T00:00:01.000Z",
    renditions=("128k",),
    has_cover=False,
)
PASSWORD = "pa55word-of-redis"
WITHIN_S = 10 * DEADLINE_S
"""A call without a deadline waits for ever; a busy machine is late."""

CALLS: dict[str, Callable[[RedisState], Awaitable[object]]] = {
    "save": lambda state: state.save(JOB),
    "get": lambda state: state.get("job"),
    "list": lambda state: state.list(updated_since="2026-01-01T00:00:00.000Z"),
    "changed_since": lambda state: state.changed_since(0),
    "revision": lambda state: state.revision(),
    "save_track": lambda state: state.save_track(TRACK),
    "forget_track": lambda state: state.forget_track("track"),
    "tracks": lambda state: state.tracks(),
    "acquire": lambda state: state.acquire("a", 60.0),
    "renew": lambda state: state.renew("a", 1, 60.0),
    "release": lambda state: state.release("a", 1),
    "next_number": lambda state: state.next_number("a"),
    "check": lambda state: state.check(),
}
WRITES = ("save", "save_track", "acquire", "next_number", "check")
READS = ("get", "list", "changed_since", "revision", "tracks")


def private_redis(*options: str) -> PrivateRedis:
    try:
        return PrivateRedis(*options)
    except NotInstalledError as error:
        pytest.skip(str(error))


@asynccontextmanager
async def connected(url: str, **options: str | float) -> AsyncIterator[RedisState]:
    state = RedisState(url, **options)  # type: ignore[arg-type]
    try:
        yield state
    finally:
        await state.close()


@pytest.fixture
def server() -> Iterator[PrivateRedis]:
    with private_redis() as server:
        yield server


@pytest.fixture
def admin(server: PrivateRedis) -> Iterator[Redis]:
    """The operator's own connection."""
    with Redis("127.0.0.1", server.port, decode_responses=True) as admin:
        yield admin


@pytest.fixture
async def state(server: PrivateRedis) -> AsyncIterator[RedisState]:
    async with connected(server.url) as state:
        yield state


async def refusal(call: Awaitable[object]) -> Unavailable:
    """The error that every call must end with, by a deadline of its own."""
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(Unavailable) as caught:
            await call
    assert caught.value.code == "state"
    return caught.value


async def test_a_server_that_is_gone_is_unavailable_until_it_is_back(
    server: PrivateRedis, state: RedisState
) -> None:
    await state.save(JOB)
    server.kill()
    for call in CALLS.values():
        error = await refusal(call(state))
        assert error.message == "Redis cannot be reached"
    server.start()
    for call in CALLS.values():
        await call(state)


async def test_a_server_that_was_restarted_in_between_is_not_noticed(
    server: PrivateRedis, state: RedisState
) -> None:
    await asyncio.gather(*(state.check() for _ in range(8)))  # so many connections wait in the pool
    server.restart()
    await asyncio.gather(*(state.check() for _ in range(8)))


async def test_a_frozen_server_is_unavailable_in_time_until_it_goes_on(
    server: PrivateRedis, state: RedisState
) -> None:
    """More calls than connections: who waits for a connection waits no longer than the others."""
    await state.save(JOB)
    server.pause()
    errors = await asyncio.gather(*(refusal(call(state)) for call in [*CALLS.values()] * 8))
    assert {error.message for error in errors} == {f"Redis does not answer within {DEADLINE_S:g} s"}
    server.resume()
    for _ in range(40):  # an answer that came late is nobody else's
        assert await state.get("job") == JOB
        assert await state.get("nobody") is None


@pytest.mark.parametrize("how", ["FLUSHALL", "a restart without a file"])
async def test_an_emptied_server_is_worked_on_with(
    server: PrivateRedis, admin: Redis, state: RedisState, how: str
) -> None:
    """Flushed: the records are gone, and nobody who remembers a number from before is misled."""
    await state.save(JOB)
    await state.save_track(TRACK)
    revision, fence = await state.revision(), await state.acquire("a", 60.0)
    assert fence is not None
    if how == "FLUSHALL":
        admin.flushall()
        admin.script_flush()
    else:
        server.restart()
    assert await state.get("job") is None
    assert (await state.list()).items == (await state.tracks()).items == ()
    assert await state.changed_since(revision) == (revision, [])
    assert not await state.renew("a", fence, 60.0)
    await state.save(replace(JOB, percent=50.0))
    later, changed = await state.changed_since(revision)
    assert (later > revision, changed) == (True, [replace(JOB, percent=50.0)])
    next_fence = await state.acquire("a", 60.0)
    assert next_fence is not None
    assert next_fence > fence


async def test_numbers_go_on_rising_when_the_clock_of_redis_jumps_back(
    admin: Redis, state: RedisState
) -> None:
    """F17: a number far ahead of the clock is what such a jump leaves."""
    ahead = 1_000_000 * int(time.time() + 3600)
    admin.set("{veza}:revision", ahead)
    admin.set("{veza}:fence", ahead)
    await state.save(JOB)
    assert await state.revision() == ahead + 1
    assert await state.acquire("a", 60.0) == ahead + 1
    assert await state.acquire("b", 60.0) == ahead + 2


async def test_a_replica_takes_no_writes_and_is_read(admin: Redis, state: RedisState) -> None:
    await state.save(JOB)
    (nobody,) = free_ports(1)
    admin.replicaof("127.0.0.1", nobody)
    for name in WRITES:
        error = await refusal(CALLS[name](state))
        assert error.message == "Redis is a replica that takes no writes"
    for name in READS:
        await CALLS[name](state)
    admin.replicaof("NO", "ONE")
    for call in CALLS.values():
        await call(state)


async def test_a_full_server_is_unavailable_for_writes_and_is_read(admin: Redis, state: RedisState) -> None:
    await state.save(JOB)
    fence = await state.acquire("held", 60.0)
    assert fence is not None
    admin.config_set("maxmemory", "1")
    for name in WRITES:
        error = await refusal(CALLS[name](state))
        assert error.message == "Redis has no memory left"
    for name in READS:
        await CALLS[name](state)
    assert await state.renew("held", fence, 60.0)
    await state.release("held", fence)
    assert await state.get("job") == JOB, "a save that was refused has changed nothing"
    admin.config_set("maxmemory", "0")
    assert (await state.list()).items == (JOB,)
    assert await state.changed_since(0) == (await state.revision(), [JOB])


async def test_a_full_server_gets_room_by_forgetting(
    server: PrivateRedis, admin: Redis, state: RedisState
) -> None:
    await state.save(JOB)
    admin.config_set("maxmemory", "1")
    async with connected(server.url, keep_s=0) as forgetful:
        await forgetful.save(replace(JOB, job_id="next"))
    assert await state.get("job") is None


async def test_a_job_that_nobody_wrote_for_long_is_forgotten_whole(
    server: PrivateRedis, admin: Redis, state: RedisState
) -> None:
    """Nothing grows without bound: no key and no entry of an index is left of it."""
    for number in range(25):
        old = replace(JOB, job_id=f"old-{number}", track_id=f"track-{number}")
        for status in (JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED):
            await state.save(old.to(status) if status != old.status else old)
            old = replace(old, status=status)
    async with connected(server.url, keep_s=0) as forgetful:
        for _ in range(3):  # a few with each save, also itself
            await forgetful.save(JOB)
    assert (await state.list()).items == (JOB,)
    assert {key: admin.type(key) for key in admin.scan_iter()} == {
        "{veza}:job:job": "hash",
        "{veza}:jobs": "zset",
        "{veza}:jobs:status:queued": "zset",
        "{veza}:jobs:track:track": "zset",
        "{veza}:jobs:updated": "zset",
        "{veza}:jobs:written": "zset",
        "{veza}:revision": "string",
    }
    sizes = [admin.zcard(key) for key in admin.scan_iter() if admin.type(key) == "zset"]
    assert sizes == [1] * 5


async def test_a_track_leaves_nothing_behind(admin: Redis, state: RedisState) -> None:
    await state.save_track(TRACK)
    await state.save_track(replace(TRACK, created_at="2026-01-01T00:00:02.000Z"))
    await state.forget_track("track")
    assert admin.keys() == []


async def test_a_look_for_changes_is_one_command(admin: Redis, state: RedisState) -> None:
    """Every follower of the jobs looks four times in a second."""
    for number in range(20):
        await state.save(replace(JOB, job_id=f"job-{number}"))
    await state.changed_since(0)
    admin.config_resetstat()
    await state.changed_since(0)
    calls = {name: stats["calls"] for name, stats in admin.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 1
    assert not {"cmdstat_eval", "cmdstat_script|load", "cmdstat_get", "cmdstat_keys"} & calls.keys()


async def test_records_under_two_prefixes_are_apart(server: PrivateRedis) -> None:
    async with connected(server.url, prefix="one") as one, connected(server.url, prefix="two") as two:
        await one.save(JOB)
        assert await one.acquire("a", 60.0) is not None
        assert await two.get("job") is None
        assert await two.acquire("a", 60.0) is not None


async def test_a_closed_state_holds_no_connection(server: PrivateRedis, admin: Redis) -> None:
    async with connected(server.url) as state:
        await asyncio.gather(*(state.check() for _ in range(4)))
        assert len(admin.client_list()) > 1
        await state.close()
    deadline = time.monotonic() + WITHIN_S
    while connections := len(admin.client_list()) - 1:  # the server sees the end a moment later
        assert time.monotonic() < deadline, f"{connections} are left"


async def test_a_user_with_few_rights_is_enough(server: PrivateRedis, admin: Redis) -> None:
    """Reliability, secrets: a user without CONFIG, for the server's own keys."""
    rights = ["~{veza}:*", "+@read", "+@write", "+@connection", "+evalsha", "+script|load", "+time"]
    admin.execute_command("ACL", "SETUSER", "media", "on", f">{PASSWORD}", *rights)
    async with connected(f"redis://media:{PASSWORD}@127.0.0.1:{server.port}/0") as state:
        for call in CALLS.values():
            await call(state)
    async with connected(f"redis://media:{PASSWORD}@127.0.0.1:{server.port}/0", prefix="other") as state:
        error = await refusal(state.check())
        assert error.message == "Redis does not allow it to the user of REDIS_URL"


@pytest.mark.parametrize("url", ["redis://:{}@127.0.0.1:{}/0", "redis://127.0.0.1:{1}/0"])
async def test_a_wrong_password_is_unavailable_and_never_told(url: str) -> None:
    wrong = f"wrong-{secrets.token_hex(4)}"
    with private_redis("--requirepass", PASSWORD) as server:
        async with connected(url.format(wrong, server.port)) as state:
            error = await refusal(state.check())
    assert error.message == "Redis does not allow it to the user of REDIS_URL"
    assert wrong not in "".join(traceback.format_exception(error))


async def test_a_password_is_never_told_when_the_server_goes() -> None:
    with private_redis("--requirepass", PASSWORD) as server:
        async with connected(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0") as state:
            await state.check()
            server.kill()
            error = await refusal(state.check())
            assert PASSWORD not in "".join(traceback.format_exception(error)) + repr(state)


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{PASSWORD}@localhost/0",
        f"redis://:{PASSWORD}/more@localhost/0",
        f"redis://:{PASSWORD}@localhost/0?no_such_option=1",
        f"redis://:{PASSWORD}@localhost/0?socket_timeout=soon",
        PASSWORD,
        "",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ValueError, match="REDIS_URL") as caught:
        RedisState(url)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


async def test_rediss_is_tls_and_the_certificate_is_verified(tmp_path: Path) -> None:
    certificate, key = certificate_of_loopback(tmp_path)
    (tls_port,) = free_ports(1)
    tls = ("--tls-port", str(tls_port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    with private_redis(*tls, "--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"):
        url = f"rediss://127.0.0.1:{tls_port}/0"
        async with connected(f"{url}?ssl_ca_certs={certificate}") as state:
            await state.save(JOB)
            assert await state.get("job") == JOB
        async with connected(url) as state:
            assert (await refusal(state.check())).message == "Redis cannot be reached"


def certificate_of_loopback(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths
