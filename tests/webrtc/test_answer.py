"""webrtc/answer.py: what the answer promises, and what it refuses."""

from __future__ import annotations

import pytest

from webrtc.answer import Content, finish_answer
from webrtc.sdp import Offer, Refused

OFFER = Offer(
    mid="0",
    payload_type=111,
    ufrag="EsAw",
    password="bP+XJMM09aR8AiX1jdukzR6Y",
    fingerprints=(("sha-256", ":".join(["AB"] * 32)),),
    setup="actpass",
    candidates=(),
)
ANSWER = """\
v=0\r
a=group:BUNDLE 0\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
a=rtpmap:111 opus/48000/2\r
a=fmtp:111 useinbandfec=1\r
a=rtpmap:0 PCMU/8000\r
"""
CONTENT = Content(channels=2, bitrate_bps=128_000, start_s=12.5, end_s=61.25)


@pytest.mark.parametrize(
    ("channels", "bitrate_bps", "said"),
    [
        (2, 128_000, "stereo=1;sprop-stereo=1;maxaveragebitrate=128000"),
        (1, 64_000, "stereo=0;sprop-stereo=0;maxaveragebitrate=64000"),
        (2, 600_000, "stereo=1;sprop-stereo=1;maxaveragebitrate=510000"),
        (1, 1_000, "stereo=0;sprop-stereo=0;maxaveragebitrate=6000"),
    ],
)
def test_the_answer_says_what_will_be_sent(channels: int, bitrate_bps: int, said: str) -> None:
    """RFC 7587 7.1: without these a receiver may decode one channel; 6.1 bounds the bit rate."""
    content = Content(channels=channels, bitrate_bps=bitrate_bps, start_s=12.5, end_s=61.25)
    assert finish_answer(ANSWER, OFFER, content).split("\r\n") == [
        "v=0",
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=rtpmap:111 opus/48000/2",
        f"a=fmtp:111 {said}",
        "a=range:npt=12.500-61.250",
        "a=rtpmap:0 PCMU/8000",
        "",
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_answer_has_a_section_for_each_of_the_offer_in_its_order(place: int) -> None:
    """RFC 3264 6: refused with port 0, and in no bundle."""
    offer = Offer(
        mid="0",
        payload_type=111,
        ufrag=OFFER.ufrag,
        password=OFFER.password,
        fingerprints=OFFER.fingerprints,
        setup=OFFER.setup,
        candidates=(),
        refused=(
            Refused(kind="video", profile="UDP/TLS/RTP/SAVPF", format="96", mid="v"),
            Refused(kind="application", profile="UDP/DTLS/SCTP", format="webrtc-datachannel", mid=None),
        ),
        place=place,
    )
    session, *sections = finish_answer(ANSWER, offer, CONTENT).split("m=")
    audio = sections.pop(place)
    assert session == "v=0\r\na=group:BUNDLE 0\r\n"
    assert audio.startswith("audio 9 ")
    assert "stereo=1" in audio
    assert sections == [
        "video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:v\r\n",
        "application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n",
    ]
