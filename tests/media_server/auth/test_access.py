"""media_server/auth/access.py: who may hear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.auth.access import Decision, enforce, may_hear
from media_server.auth.principal import ANONYMOUS, Principal, Role, signature_holder
from media_server.errors import Denied, NotFound, Unauthenticated, reaction_to

TRACK = "0b9f7c1e-5a3d-4e0b-9c55-2f4f6f0d8a11"
OTHER_TRACK = "1c8e6b2d-4b2c-4f1a-8d44-3e5e5e1c9b22"
OWNER_ID = "user-1"


def _bearer(subject: str, *roles: Role, track_id: str | None = None, **more: frozenset[str]) -> Principal:
    return Principal(subject=subject, roles=roles, track_id=track_id, anonymous=False, **more)


NOBODY = ANONYMOUS
STRANGER = _bearer("user-2", Role.CREATOR)
OWNER = _bearer(OWNER_ID)
MODERATOR = _bearer("user-3", Role.MODERATOR)
ADMIN = _bearer("user-4", Role.ADMIN)
FOR_TRACK = _bearer("user-5", track_id=TRACK)
FOR_OTHER = _bearer(OWNER_ID, Role.ADMIN, track_id=OTHER_TRACK)
SIGNED = signature_holder(TRACK)
SIGNED_OTHER = signature_holder(OTHER_TRACK)
BLIND = _bearer(OWNER_ID, Role.ADMIN, permissions=frozenset({"track:write"}))

YES, TOKEN, NO, NONE = Decision.ALLOWED, Decision.NEEDS_TOKEN, Decision.DENIED, Decision.UNKNOWN

TABLE = [
    # who, public (PUBLIC_PLAYBACK), public (not), unlisted, private, unknown
    ("nobody", NOBODY, YES, TOKEN, TOKEN, TOKEN, TOKEN),
    ("a stranger", STRANGER, YES, YES, NO, NO, NO),
    ("the owner", OWNER, YES, YES, YES, YES, NO),
    ("a moderator", MODERATOR, YES, YES, YES, YES, NONE),
    ("an admin", ADMIN, YES, YES, YES, YES, NONE),
    ("a token narrowed to the track", FOR_TRACK, YES, YES, YES, YES, NONE),
    ("a token narrowed to another track", FOR_OTHER, YES, NO, NO, NO, NO),
    ("a signature", SIGNED, YES, YES, YES, YES, NONE),
    ("a signature for another track", SIGNED_OTHER, YES, NO, NO, NO, NO),
    ("a token that may not read tracks", BLIND, YES, YES, NO, NO, NO),
]


def _decide(
    principal: Principal, visibility: str | None, *, public: bool = True, open_: bool = False
) -> Decision:
    return may_hear(
        principal,
        visibility=visibility,
        owner_id=None if visibility is None else OWNER_ID,
        track_id=TRACK,
        public_playback=public,
        open_playback=open_,
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_who_may_hear(row: tuple[str, Principal, Decision, Decision, Decision, Decision, Decision]) -> None:
    """Contract, "Who may hear": one row for each kind of caller."""
    _, principal, *expected = row
    assert [
        _decide(principal, "public"),
        _decide(principal, "public", public=False),
        _decide(principal, "unlisted"),
        _decide(principal, "private"),
        _decide(principal, None),
    ] == expected


def test_open_playback_asks_nobody_and_hides_nothing() -> None:
    """In development with no secret set playback is open; everyone may hear any, so 404 may be told."""
    assert {_decide(ANONYMOUS, v, public=False, open_=True) for v in ("public", "unlisted", "private")} == {
        YES
    }
    assert _decide(ANONYMOUS, None, open_=True) is NONE


def test_a_visibility_we_do_not_know_counts_as_private() -> None:
    """Missing = private; so is a word from a newer companion."""
    assert _decide(STRANGER, "friends") is NO
    assert _decide(OWNER, "friends") is YES


def test_a_track_without_owner_belongs_to_nobody() -> None:
    """A token cannot own what has no owner, whatever its subject."""
    for subject in ("", "None"):
        decision = may_hear(
            _bearer(subject),
            visibility="private",
            owner_id=None,
            track_id=TRACK,
            public_playback=True,
            open_playback=False,
        )
        assert decision is NO


PRINCIPALS = st.builds(
    Principal,
    subject=st.sampled_from([None, OWNER_ID, "user-2"]),
    roles=st.lists(st.sampled_from(Role), max_size=2).map(tuple),
    track_id=st.sampled_from([None, TRACK, OTHER_TRACK]),
    anonymous=st.booleans(),
    permissions=st.sampled_from([None, frozenset(), frozenset({"track:read"})]),
)


@given(PRINCIPALS, st.booleans())
def test_an_unknown_track_answers_like_a_private_one_of_somebody_else(who: Principal, public: bool) -> None:
    """Enumeration: only those who may hear any (or this one) see a difference."""
    unknown = _decide(who, None, public=public)
    private = may_hear(
        who,
        visibility="private",
        owner_id="somebody else",
        track_id=TRACK,
        public_playback=public,
        open_playback=False,
    )
    assert unknown is (NONE if private is YES else private)


@pytest.mark.parametrize(
    ("decision", "error", "status", "code"),
    [
        (TOKEN, Unauthenticated, 401, "token_needed"),
        (NO, Denied, 403, "track_denied"),
        (NONE, NotFound, 404, "track_not_found"),
    ],
)
def test_a_refusal_is_raised_with_its_status(
    decision: Decision, error: type[Exception], status: int, code: str
) -> None:
    """401 without a valid token where one is needed, 403 without the right, 404 to those who may hear any."""
    with pytest.raises(error) as raised:
        enforce(decision, TRACK)
    assert reaction_to(raised.value).status == status
    assert getattr(raised.value, "code", None) == code


def test_allowed_raises_nothing() -> None:
    """The way through."""
    enforce(YES, TRACK)
