"""The one shape of a stage: `push(item) -> list`, `flush() -> list`.

Decoder, resampler, gain, encoder and segmenter all have it; a stage owns its state, is fed in order from
one thread at a time, and is finished once flushed.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out")


class Stage(Protocol[In, Out]):
    """Turns a stream of `In` into a stream of `Out`."""

    def push(self, item: In) -> list[Out]:
        """Take the next item; return what is finished because of it."""
        ...

    def flush(self) -> list[Out]:
        """The stream has ended; return what was held back."""
        ...
