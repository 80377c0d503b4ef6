"""media_server/auth/principal.py: roles and who asks."""

from __future__ import annotations

import pytest

from media_server.auth.principal import ANONYMOUS, Principal, Role, roles_named, signature_holder

TRACK = "0b9f7c1e-5a3d-4e0b-9c55-2f4f6f0d8a11"


def test_roles_rank_as_the_contract_says() -> None:
    """guest < user < premium (premium_user) < creator = artist = producer = label < moderator < admin."""
    ladder = ["guest", "user", "premium", "creator", "moderator", "admin"]
    ranks = [roles_named([name])[0] for name in ladder]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 6
    assert roles_named(["premium_user"]) == roles_named(["premium"])
    assert {roles_named([name]) for name in ("creator", "artist", "producer", "label")} == {(Role.CREATOR,)}


def test_the_highest_of_several_roles_counts() -> None:
    """`roles` is a list."""
    assert Principal(roles=roles_named(["user", "moderator", "artist"])).rank is Role.MODERATOR


@pytest.mark.parametrize("name", ["Admin", "ADMIN", "root", "superuser", "", " admin", "admin "])
def test_a_role_we_do_not_know_grants_nothing(name: str) -> None:
    """A name that only looks like a role is none."""
    assert roles_named([name]) == ()
    assert Principal(roles=roles_named([name])).rank is Role.GUEST


def test_a_narrowed_token_carries_no_rank() -> None:
    """A token for one track, even an admin's, is for that track and nothing else."""
    principal = Principal(roles=(Role.ADMIN,), track_id=TRACK, anonymous=False)
    assert not principal.at_least(Role.USER)


def test_permissions_follow_from_the_role_unless_listed() -> None:
    """Contract: `permissions` (`track:read`) optional, else derived from the role."""
    assert Principal().reads_tracks
    assert Principal(permissions=frozenset({"track:read"})).reads_tracks
    assert not Principal(permissions=frozenset({"track:write"})).reads_tracks
    assert not Principal(permissions=frozenset()).reads_tracks


def test_a_signature_vouches_for_one_track_and_names_nobody() -> None:
    """Signed URLs carry no user."""
    holder = signature_holder(TRACK)
    assert (holder.subject, holder.track_id, holder.signed, holder.anonymous) == (None, TRACK, True, False)
    assert ANONYMOUS.anonymous
    assert not ANONYMOUS.signed
