"""The answer's last touches: what will be sent, and that nothing else of the offer is taken.

Owns: the lines that the WebRTC library does not write. Pure.
Source: RFC 7587 7 (Opus), RFC 3264 6 and RFC 9143 7.3.3 (refused sections), RFC 2326 C.1.5 (range).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from webrtc.sdp import Offer, Refused

BITRATES_BPS: Final = range(6_000, 510_001)
"""RFC 7587 6.1: what maxaveragebitrate may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What will be sent: Opus of `channels` at `bitrate_bps`, `start_s` to `end_s` of something longer."""

    channels: int
    bitrate_bps: int
    start_s: float
    end_s: float


def finish_answer(text: str, offer: Offer, content: Content) -> str:
    """The library's answer to `offer.render()`, as the one to the whole offer.

    Without `stereo` and `sprop-stereo` a receiver may decode one channel only (RFC 7587 7.1). `range` tells
    the end beforehand: Chromium does not notice when the other side closes. An answer has as many sections
    as its offer, in the same order.
    """
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("m="))
    refused = [_lines_of(one) for one in offer.refused]
    whole = [
        *lines[:start],
        *(line for section in refused[: offer.place] for line in section),
        *_told(lines[start:], offer.payload_type, content),
        *(line for section in refused[offer.place :] for line in section),
    ]
    return "\r\n".join(whole) + "\r\n"


def _told(lines: list[str], payload_type: int, content: Content) -> list[str]:
    """The section of audio, saying what will be heard in it."""
    stereo = int(content.channels == 2)
    rate = min(max(content.bitrate_bps, BITRATES_BPS.start), BITRATES_BPS.stop - 1)
    said = f"a=fmtp:{payload_type} stereo={stereo};sprop-stereo={stereo};maxaveragebitrate={rate}"
    told: list[str] = []
    for line in lines:
        if line.startswith(f"a=fmtp:{payload_type} "):
            continue
        told.append(line)
        if line.startswith(f"a=rtpmap:{payload_type} "):
            told += [said, f"a=range:npt={content.start_s:.3f}-{content.end_s:.3f}"]
    return told


def _lines_of(refused: Refused) -> list[str]:
    """RFC 3264 6: a section with port 0 is refused; it has at least one format, which means nothing."""
    lines = [f"m={refused.kind} 0 {refused.profile} {refused.format}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return lines if refused.mid is None else [*lines, f"a=mid:{refused.mid}"]
