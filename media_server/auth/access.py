"""Who may hear a track.

Owns: the one decision, as a pure function, and the refusal that goes with it. An unknown track answers like a
private one; that it does not exist is told only to those who may hear any.
"""

from __future__ import annotations

from enum import StrEnum

from media_server.auth.principal import Principal, Role
from media_server.errors import Denied, NotFound, Unauthenticated


class Decision(StrEnum):
    ALLOWED = "allowed"
    NEEDS_TOKEN = "needs_token"  # noqa: S105  # a decision, not a secret
    DENIED = "denied"
    UNKNOWN = "unknown"


def may_hear(
    principal: Principal,
    *,
    visibility: str | None,
    owner_id: str | None,
    track_id: str,
    public_playback: bool,
    open_playback: bool,
) -> Decision:
    """Decide whether `principal` may hear the track.

    Args:
        visibility: public, unlisted or private (anything else counts as private); None: no such track.
        owner_id: the owner's `user_id`; None: nobody owns it.
        public_playback: PUBLIC_PLAYBACK, everyone may hear what is public.
        open_playback: nobody is asked for a token (development with no secret set).
    """
    known = visibility is not None
    allowed = (
        open_playback
        or _is_for_everyone(visibility, public_playback)
        or _is_vouched_for(principal, visibility, owner_id, track_id)
    )
    if allowed:
        return Decision.ALLOWED if known else Decision.UNKNOWN
    return Decision.NEEDS_TOKEN if principal.anonymous else Decision.DENIED


def _is_for_everyone(visibility: str | None, public_playback: bool) -> bool:
    return visibility == "public" and public_playback


def _is_vouched_for(
    principal: Principal, visibility: str | None, owner_id: str | None, track_id: str
) -> bool:
    if principal.anonymous:
        return False
    if principal.track_id is not None:
        # narrowed to one track: whoever holds it gets that track and nothing else, not even the owner's own
        return principal.track_id == track_id and principal.reads_tracks
    if visibility == "public":
        return True
    is_owner = owner_id is not None and principal.subject == owner_id
    return principal.reads_tracks and (is_owner or principal.at_least(Role.MODERATOR))


def enforce(decision: Decision, track_id: str) -> None:
    """Return if allowed.

    Raises:
        Unauthenticated: `token_needed`.
        Denied: `track_denied`.
        NotFound: `track_not_found`.
    """
    if decision is Decision.NEEDS_TOKEN:
        raise Unauthenticated("token_needed", "a token is needed to hear this track")
    if decision is Decision.DENIED:
        raise Denied("track_denied", "this token does not allow to hear this track")
    if decision is Decision.UNKNOWN:
        raise NotFound("track_not_found", f"there is no track {track_id}")
