"""Files that are nearly right: the same source and seed give the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

MAX_BYTES = 1 << 18
"""A longer source is cut: what is broken near its start is what decoders trip over."""

HEADER_BYTES = 512

_LIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)

_Change = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(sources: Sequence[bytes], seed: int) -> bytes:
    """One of the sources, with one to four changes.

    Args:
        seed: any number; its neighbours are of other sources, so that a row of seeds takes each in turn.
    """
    draw = random.Random(seed)
    data = bytearray(sources[seed % len(sources)][:MAX_BYTES])
    for _ in range(draw.randint(1, 4)):
        if data:
            draw.choice(_CHANGES)(draw, data, sources)
    return bytes(data)


def _flip_bits(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _ in range(draw.choice((1, 4, 32))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _flip_header_bits(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(min(len(data), HEADER_BYTES))] ^= 1 << draw.randrange(8)


def _lie(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A size or count that is too small, too large or negative, in either byte order, at either end."""
    reach = min(len(data), HEADER_BYTES)
    at = draw.randrange(reach) if draw.random() < 0.7 else len(data) - 1 - draw.randrange(reach)
    width = draw.choice((1, 2, 4, 8))
    number = draw.choice(_LIES) & ((1 << 8 * width) - 1)
    data[at : at + width] = number.to_bytes(width, draw.choice(("big", "little")))


def _cut_off(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[draw.randrange(len(data)) :]


def _cut_out(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at = draw.randrange(len(data))
    del data[at : at + draw.choice((1, 7, 64, 4096))]


def _repeat(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at, length = draw.randrange(len(data)), draw.choice((4, 64, 1024))
    data[at:at] = bytes(data[at : at + length]) * draw.choice((1, 3, 16))


def _overwrite(draw: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    at, length = draw.randrange(len(data)), draw.choice((4, 64, 1024))
    run = draw.choice((bytes(length), b"\xff" * length, draw.randbytes(length)))
    data[at : at + length] = run


def _splice(draw: random.Random, data: bytearray, sources: Sequence[bytes]) -> None:
    """A piece of another file, over what was there or between it."""
    other = draw.choice(sources)[:MAX_BYTES]
    if not other:
        return
    start, at = draw.randrange(len(other)), draw.randrange(len(data))
    piece = other[start : start + draw.choice((16, 512, 8192))]
    data[at : at + (len(piece) if draw.random() < 0.5 else 0)] = piece


_CHANGES: tuple[_Change, ...] = (
    *(_flip_bits, _flip_header_bits, _flip_header_bits, _lie, _lie, _lie),
    *(_cut_off, _cut_out, _repeat, _overwrite, _splice),
)
