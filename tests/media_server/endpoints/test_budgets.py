"""What counts against what: every route of the server has its kind, and each kind its costs."""

from __future__ import annotations

import pytest

from media_server.endpoints.budgets import (
    SETTINGS,
    SHARED,
    Kind,
    Limit,
    budgets_of,
    costs_of_address,
    costs_of_caller,
    kind_of,
    network_of,
)
from media_server.endpoints.routes import operations
from media_server.settings import Settings

TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
ADDRESS = "203.0.113.9"
KINDS = {
    "/hls/{track_id}/": Kind.MEDIA,
    "/tracks/{track_id}/": Kind.MEDIA,
    "/web/": Kind.PAGE,
    "/favicon.ico": Kind.PAGE,
    "/api/v1/internal/": Kind.INTERNAL,
    "/transcode": Kind.INTERNAL,
    "/dev/": Kind.INTERNAL,
    "/health": Kind.UNLIMITED,
    "/readyz": Kind.UNLIMITED,
    "/metrics": Kind.UNLIMITED,
}
"""By how a path begins; whatever begins otherwise counts in full."""


def all_costs(kind: Kind, subject: str | None = None, *, trusted: bool = False) -> list[Limit]:
    return [
        limit
        for limit, _ in (
            *costs_of_address(kind, ADDRESS, trusted=trusted),
            *costs_of_caller(kind, ADDRESS, subject, trusted=trusted),
        )
    ]


@pytest.mark.parametrize("page", [True, False])
def test_every_route_has_the_kind_that_its_path_says(page: bool) -> None:
    for operation in operations(Settings(web_page=page)):
        begun = (kind for start, kind in KINDS.items() if operation.path.startswith(start))
        expected = Kind.PAGE if operation.path == "/" else next(begun, Kind.OTHER)
        path = operation.path.replace("{track_id}", TRACK).replace("{path:path}", "vendor/hls.mjs")
        assert kind_of("http", operation.method, path) is expected, operation.path


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("HEAD", f"/hls/{TRACK}/master.m3u8", Kind.MEDIA),
        ("GET", f"/hls/{TRACK}/0123456789abcdef/128k/000001.m4s", Kind.MEDIA),
        ("GET", f"/tracks/{TRACK}/audio.mp3", Kind.MEDIA),
        ("GET", f"/tracks/{TRACK}/cover", Kind.MEDIA),
        ("GET", f"/tracks/{TRACK}", Kind.OTHER),
        ("GET", "/tracks", Kind.OTHER),
        ("POST", f"/hls/{TRACK}/master.m3u8", Kind.OTHER),
        ("POST", "/web/app.js", Kind.OTHER),
        ("POST", f"/whep/{TRACK}", Kind.OTHER),
        ("GET", "/status", Kind.OTHER),
        ("GET", "/metrics/x", Kind.OTHER),
        ("GET", "/hls", Kind.OTHER),
        ("GET", "/transcode/x", Kind.OTHER),
        ("GET", "", Kind.OTHER),
    ],
)
def test_what_is_no_media_and_no_page_counts_in_full(method: str, path: str, kind: Kind) -> None:
    assert kind_of("http", method, path) is kind


def test_a_websocket_is_one_on_whatever_path() -> None:
    assert kind_of("websocket", "GET", "/hls/x") is Kind.WEBSOCKET


@pytest.mark.parametrize(
    ("kind", "guest", "user"),
    [
        (Kind.UNLIMITED, [], []),
        (Kind.MEDIA, [Limit.MEDIA], [Limit.MEDIA]),
        (Kind.PAGE, [Limit.ADDRESS, Limit.SERVER], [Limit.ADDRESS, Limit.SERVER]),
        (Kind.OTHER, [Limit.ADDRESS, Limit.GUEST, Limit.SERVER], [Limit.ADDRESS, Limit.TOKEN, Limit.SERVER]),
        (
            Kind.INTERNAL,
            [Limit.ADDRESS, Limit.GUEST, Limit.SERVER],
            [Limit.ADDRESS, Limit.TOKEN, Limit.SERVER],
        ),
        (
            Kind.WEBSOCKET,
            [Limit.ADDRESS, Limit.WEBSOCKET, Limit.SERVER],
            [Limit.ADDRESS, Limit.WEBSOCKET, Limit.SERVER],
        ),
    ],
)
def test_each_kind_has_its_costs(kind: Kind, guest: list[Limit], user: list[Limit]) -> None:
    """contract, limits: media is counted apart, so that no honest player is hit."""
    assert all_costs(kind) == guest
    assert all_costs(kind, "user-1") == user


def test_a_trusted_server_costs_the_total_alone() -> None:
    assert all_costs(Kind.INTERNAL, trusted=True) == [Limit.SERVER]


def test_a_subject_that_looks_like_an_address_shares_nothing_with_it() -> None:
    guest = costs_of_caller(Kind.WEBSOCKET, ADDRESS, None, trusted=False)
    user = costs_of_caller(Kind.WEBSOCKET, "198.51.100.1", ADDRESS, trusted=False)
    assert guest[0] != user[0]


def test_a_user_has_one_budget_from_wherever_he_asks() -> None:
    first, second = (
        costs_of_caller(Kind.OTHER, address, "user-1", trusted=False) for address in (ADDRESS, "198.51.100.1")
    )
    assert first == second
    assert first[0][0] in SHARED


def test_the_defaults_are_the_contracts() -> None:
    """contract, limits: per minute or second, and at once."""
    assert {
        limit: (round(60 / budget.interval_s), budget.burst)
        for limit, budget in budgets_of(Settings()).items()
    } == {
        Limit.TOKEN: (1000, 100),
        Limit.GUEST: (100, 20),
        Limit.WEBSOCKET: (10, 2),
        Limit.ADDRESS: (6000, 100),
        Limit.SERVER: (60_000, 1000),
        Limit.MEDIA: (6000, 1000),
    }


def test_no_limit_is_none_and_one_is_at_least_one_at_once() -> None:
    none = {name.lower(): 0 for name in SETTINGS.values()}
    assert budgets_of(Settings(**none)) == {}
    [(limit, budget)] = budgets_of(Settings(**{**none, "rate_limit_token_per_minute": 1})).items()
    assert (limit, budget.burst, budget.interval_s) == (Limit.TOKEN, 1, 60.0)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("/run/media.sock", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_stands_for_its_subscriber(host: str | None, network: str) -> None:
    """RFC 6177: a subscriber has a /64 at least, and may ask from each of its addresses."""
    assert network_of(host) == network
