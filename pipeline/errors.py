"""What can be wrong with a source, as three reactions.

The class says what the job does about it; `code` is the stable name the contract gives the case.
"""

from __future__ import annotations

from collections.abc import Mapping


class MediaError(Exception):
    """The source cannot become a track.

    Args:
        code: stable lower-case name, for example `not_audio`.
        message: a sentence with the actual and the allowed value; lower case, no full stop.
        limits: the limits that were involved, by setting name.
    """

    def __init__(self, code: str, message: str, limits: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.limits = dict(limits or {})


class Malformed(MediaError):
    """The input breaks its own specification."""


class Unsupported(MediaError):
    """The input is valid, but not done here."""


class LimitExceeded(MediaError):
    """The input is too long, big, many or deep."""
