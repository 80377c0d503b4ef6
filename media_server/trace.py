"""The trace that a job belongs to, as W3C writes it: read from others, or made where they told none.

Pure. A trace is passed on as it came: we record no spans of our own that a parent could name.
Source: W3C Trace Context 3.2 for `traceparent`; contract, Events.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

TRACEPARENT: Final = "traceparent"
"""The header's name, in HTTP and on the broker."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def read(text: str | None) -> str | None:
    """A `traceparent` that is one; None for none, or for nonsense, which is not passed on."""
    return text if text is not None and _TRACEPARENT.fullmatch(text) else None


def of_job(job_id: str) -> str:
    """The trace of a job that came without one: the same in every process, so nobody has to keep it."""
    name = hashlib.sha256(job_id.encode()).hexdigest()
    return f"00-{name[:32]}-{name[32:48]}-01"


def trace_id(text: str | None) -> str | None:
    """The trace that a `traceparent` names: 32 hexadecimal digits; None if it is none."""
    found = _TRACEPARENT.fullmatch(text or "")
    return found[1] if found else None
