"""media_server/trace.py: what is a `traceparent`, and one for a job that has none."""

from __future__ import annotations

import pytest

from media_server.trace import of_job, read, trace_id

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def test_a_trace_is_passed_on_as_it_came() -> None:
    assert read(TRACEPARENT) == TRACEPARENT
    assert trace_id(TRACEPARENT) == TRACE


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-1-2-01",
        TRACEPARENT.upper(),
        f"ff{TRACEPARENT[2:]}",
        TRACEPARENT.replace(TRACE, "0" * 32),
        TRACEPARENT.replace("b7ad6b7169203331", "0" * 16),
        f"{TRACEPARENT}\r\nX-Injected: 1",
    ],
)
def test_nonsense_is_no_trace(text: str | None) -> None:
    """W3C Trace Context 3.2.2: an invalid header is ignored; nothing of it reaches another request."""
    assert read(text) is None
    assert trace_id(text) is None


def test_a_job_without_a_trace_has_one_of_its_own_always_the_same() -> None:
    made = of_job("5d0e8d7e-6f0b-5a53-9a5c-5b7f4b1c8a10")
    assert read(made) == made
    assert made == of_job("5d0e8d7e-6f0b-5a53-9a5c-5b7f4b1c8a10")
    assert made != of_job("5d0e8d7e-6f0b-5a53-9a5c-5b7f4b1c8a11")
