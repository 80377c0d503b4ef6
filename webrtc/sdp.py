"""Session descriptions: an offer read into values, and written again from them.

Owns: what of a stranger's text reaches the WebRTC library. An offer is not passed on but written anew from
the few values that were checked, so that no line nobody understands here is ever parsed there. Pure.
Source: RFC 8866 (SDP), RFC 8839 (ICE), RFC 8842 (DTLS), RFC 7587 7 (Opus), RFC 9143 (BUNDLE).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from webrtc.reach import Reach, reach_of

MAX_OFFER_BYTES: Final = 65_536
MAX_CANDIDATES: Final = 16
"""A browser offers one for each of its addresses; each costs the server packets to a place not proven."""
LEAST_PORT: Final = 1024
"""Browsers use ephemeral ports; below them are services that must not be sent anything on demand."""
MAX_SECTIONS: Final = 8
"""Players of anything offer to see a picture too, and a data channel: each is refused in the answer."""

PROFILES: Final = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF"})
DYNAMIC_PAYLOAD_TYPES: Final = range(96, 128)
DIGEST_BYTES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
OPUS: Final = "opus/48000/2"

_WORD = "[A-Za-z0-9-]{1,40}"
_MEDIA = re.compile(
    rf"m=([a-z]{{1,16}}) (\d{{1,5}})(?:/\d{{1,3}})? ([A-Za-z0-9/]{{1,40}}) ({_WORD}(?: {_WORD})*)"
)
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_FINGERPRINT = re.compile(r"(\S+) +((?:[0-9A-Fa-f]{2}:)*[0-9A-Fa-f]{2})")
_SETUP = re.compile(r"actpass|active|passive")
_MID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,16}")
_RTPMAP = re.compile(r"(\d{1,3}) (\S+)")
_CANDIDATE = re.compile(
    r"(?P<foundation>[A-Za-z0-9+/]{1,32}) 1 (?i:udp) (?P<priority>\d{1,10}) (?P<address>[0-9A-Fa-f.:]{2,45})"
    r" (?P<port>\d{1,5}) typ (?P<kind>host|srflx|relay)(?: .*)?"
)


class OfferRefused(ValueError):
    """The offer cannot be answered; the text says why, without repeating the offer."""


class OfferMalformed(OfferRefused):
    """It breaks a rule of SDP or WebRTC."""


class OfferUnsupported(OfferRefused):
    """It is well-formed, and asks for something other than to hear Opus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A UDP address that the peer can be reached at."""

    foundation: str
    priority: int
    address: str
    port: int
    kind: str

    def __str__(self) -> str:
        return f"{self.foundation} 1 udp {self.priority} {self.address} {self.port} typ {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A media section that is offered and not taken: what its answer has to repeat."""

    kind: str
    profile: str
    format: str
    mid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """An offer to hear one stream of Opus. `fingerprints` are (algorithm, digest in hexadecimal) pairs.

    `refused` are its other media sections, `place` of which stand before the one of audio.
    """

    mid: str
    payload_type: int
    ufrag: str
    password: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str
    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...] = ()
    place: int = 0

    def render(self) -> str:
        """The offer again, with only what is needed to answer it.

        Without `end-of-candidates`, even if the peer said so: most browsers hide their addresses, and the
        peer's checks, which bring one, may come later than the server's own would have failed.
        """
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 0.0.0.0",
            "s=-",
            "t=0 0",
            f"a=group:BUNDLE {self.mid}",
            f"m=audio 9 UDP/TLS/RTP/SAVPF {self.payload_type}",
            "c=IN IP4 0.0.0.0",
            "a=recvonly",
            f"a=mid:{self.mid}",
            "a=rtcp-mux",
            f"a=rtpmap:{self.payload_type} {OPUS}",
            f"a=ice-ufrag:{self.ufrag}",
            f"a=ice-pwd:{self.password}",
            *(f"a=fingerprint:{algorithm} {digest}" for algorithm, digest in self.fingerprints),
            f"a=setup:{self.setup}",
            *(f"a=candidate:{candidate}" for candidate in self.candidates),
        ]
        return "\r\n".join(lines) + "\r\n"


def read_offer(body: bytes, peer: Reach) -> Offer:
    """Check an offer and take what is needed of it.

    Candidates that are no UDP address, or one that `peer` has no business with, are left out; names
    (`.local`) are never resolved. Of the rest the first MAX_CANDIDATES count.

    Raises:
        OfferMalformed: it is no offer of a WebRTC peer.
        OfferUnsupported: its first audio section, if it has one, would not receive Opus.
    """
    if len(body) > MAX_OFFER_BYTES:
        raise OfferMalformed(f"the offer has {len(body)} bytes, limit is {MAX_OFFER_BYTES}")
    try:
        lines = body.decode().splitlines()
    except UnicodeDecodeError:
        raise OfferMalformed("the offer is not UTF-8") from None
    if not lines or lines[0].rstrip() != "v=0":
        raise OfferMalformed("an offer begins with v=0")
    starts = [number for number, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > MAX_SECTIONS:
        raise OfferUnsupported(f"the offer has {len(starts)} media sections, limit is {MAX_SECTIONS}")
    bounds = itertools.pairwise([0, *starts, len(lines)])
    session, *media = ([line.rstrip() for line in lines[start:end]] for start, end in bounds)
    place = next((number for number, one in enumerate(media) if one[0].startswith("m=audio ")), None)
    if place is None:
        raise OfferUnsupported("the offer has no audio section")
    section = _Section.of(media[place], session)
    return Offer(
        mid=section.one("mid", _MID, default="0"),
        payload_type=section.opus(),
        ufrag=section.one("ice-ufrag", _UFRAG),
        password=section.one("ice-pwd", _PASSWORD),
        fingerprints=section.fingerprints(),
        setup=section.one("setup", _SETUP),
        candidates=tuple(usable_candidates(section.values("candidate"), peer)),
        refused=tuple(_refused(one) for number, one in enumerate(media) if number != place),
        place=place,
    )


def usable_candidates(texts: Iterable[str], peer: Reach) -> Iterator[Candidate]:
    """Of the values of `candidate` attributes, those that the server may send to for this peer."""
    found: list[Candidate] = []
    for text in texts:
        read = _CANDIDATE.fullmatch(text)
        if read is None or not peer.meets(reach_of(read["address"])):
            continue
        port, priority = int(read["port"]), int(read["priority"])
        if not LEAST_PORT <= port <= 65_535 or not 0 < priority < 2**31:
            continue
        found.append(
            Candidate(
                foundation=read["foundation"],
                priority=priority,
                address=read["address"],
                port=port,
                kind=read["kind"],
            )
        )
        if len(found) == MAX_CANDIDATES:
            break
    yield from found


@dataclass(frozen=True, slots=True)
class _Section:
    """The audio section of an offer, with the attributes of the whole session behind its own."""

    payload_types: tuple[int, ...]
    attributes: tuple[tuple[str, str], ...]
    inherited: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, lines: list[str], session: list[str]) -> _Section:
        _, port, profile, formats = _media(lines[0])
        if not all(text.isdecimal() for text in formats):
            raise OfferMalformed("the m= line of audio names payload types that are none")
        section = cls(tuple(map(int, formats)), _attributes(lines), _attributes(session))
        # RFC 9143 7.2.1: what only goes bundled has no port of its own
        if profile not in PROFILES or (port == "0" and not section.values("bundle-only")):
            raise OfferUnsupported("the audio section is not one of WebRTC (UDP/TLS/RTP/SAVPF)")
        section._receives()
        return section

    def values(self, name: str) -> list[str]:
        """The values of an attribute: those of the section, or if it has none those of the session."""
        own = [value for key, value in self.attributes if key == name]
        return own or [value for key, value in self.inherited if key == name]

    def one(self, name: str, form: re.Pattern[str], default: str | None = None) -> str:
        values = self.values(name) or ([] if default is None else [default])
        if len(values) != 1 or not form.fullmatch(values[0]):
            raise OfferMalformed(f"the offer needs one a={name} of the right form, has {len(values)}")
        return values[0]

    def fingerprints(self) -> tuple[tuple[str, str], ...]:
        """Of each certificate digest of a kind that is checked here; there has to be one."""
        found = []
        for value in self.values("fingerprint"):
            read = _FINGERPRINT.fullmatch(value)
            if read is None:
                raise OfferMalformed("a=fingerprint is not an algorithm and a digest")
            algorithm, digest = read[1].lower(), read[2].upper()
            if len(digest) == 3 * DIGEST_BYTES.get(algorithm, 0) - 1:
                found.append((algorithm, digest))
        if not found:
            raise OfferMalformed(f"the offer needs an a=fingerprint of {', '.join(DIGEST_BYTES)}")
        return tuple(found)

    def opus(self) -> int:
        """The payload type of Opus in stereo form, the only one that RFC 7587 knows."""
        for value in self.values("rtpmap"):
            read = _RTPMAP.fullmatch(value)
            if read is None or read[2].lower() != OPUS:
                continue
            payload_type = int(read[1])
            if payload_type in self.payload_types and payload_type in DYNAMIC_PAYLOAD_TYPES:
                return payload_type
        raise OfferUnsupported("the offer has no opus/48000/2 with a payload type from 96 to 127")

    def _receives(self) -> None:
        names = {name for name, _ in self.attributes}
        if names & {"sendonly", "inactive"}:
            raise OfferUnsupported("the audio section does not receive (recvonly or sendrecv)")
        if "rtcp-mux" not in names:
            raise OfferMalformed("the audio section needs a=rtcp-mux")


def _media(line: str) -> tuple[str, str, str, list[str]]:
    """Kind, port, profile and formats."""
    read = _MEDIA.fullmatch(line)
    if read is None:
        raise OfferMalformed("an m= line is not one of media")
    return read[1], read[2], read[3], read[4].split(" ")


def _refused(lines: list[str]) -> Refused:
    kind, _, profile, formats = _media(lines[0])
    mids = [value for name, value in _attributes(lines) if name == "mid"]
    if len(mids) > 1 or not all(_MID.fullmatch(mid) for mid in mids):
        raise OfferMalformed("a media section has more than one a=mid, or one of the wrong form")
    return Refused(kind=kind, profile=profile, format=formats[0], mid=mids[0] if mids else None)


def _attributes(lines: Iterable[str]) -> tuple[tuple[str, str], ...]:
    split = (line[2:].partition(":") for line in lines if line.startswith("a="))
    return tuple((name, value.strip()) for name, _, value in split)
