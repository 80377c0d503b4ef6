"""Who asks.

Owns: the roles with their rank, and the value every decision about access starts from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """A rank: who has a higher one may all that a lower one may."""

    GUEST = 0
    USER = 1
    PREMIUM = 2
    CREATOR = 3
    MODERATOR = 4
    ADMIN = 5


ROLES: Final[Mapping[str, Role]] = {
    "guest": Role.GUEST,
    "user": Role.USER,
    "premium": Role.PREMIUM,
    "premium_user": Role.PREMIUM,
    "creator": Role.CREATOR,
    "artist": Role.CREATOR,
    "producer": Role.CREATOR,
    "label": Role.CREATOR,
    "moderator": Role.MODERATOR,
    "admin": Role.ADMIN,
}
TRACK_READ: Final = "track:read"


def roles_named(names: Iterable[str]) -> tuple[Role, ...]:
    """The roles of these names, highest first, each once; a name we do not know grants nothing."""
    return tuple(sorted({ROLES[name] for name in names if name in ROLES}, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks, as far as a token or a signature proves it.

    Attributes:
        subject: the token's `sub`; None without a token.
        track_id: the only track this principal was vouched for; None: not narrowed.
        anonymous: came with neither a token nor a signature.
        signed: came with a signed URL.
        permissions: as the token lists them; None: they follow from the role.
    """

    subject: str | None = None
    roles: tuple[Role, ...] = ()
    track_id: str | None = None
    anonymous: bool = True
    signed: bool = False
    permissions: frozenset[str] | None = None

    @property
    def rank(self) -> Role:
        """The highest role; a narrowed principal has no more rank than a guest."""
        return max(self.roles, default=Role.GUEST) if self.track_id is None else Role.GUEST

    @property
    def reads_tracks(self) -> bool:
        """Every role may read tracks; a list of permissions may leave it out."""
        return self.permissions is None or TRACK_READ in self.permissions

    def at_least(self, role: Role) -> bool:
        """Whether this principal ranks at `role` or above."""
        return self.rank >= role


ANONYMOUS: Final = Principal()


def signature_holder(track_id: str) -> Principal:
    """Whoever came with a valid signature for this track: nobody by name, vouched for it alone."""
    return Principal(track_id=track_id, anonymous=False, signed=True)
