"""webrtc/sdp.py: what of an offer is believed."""

from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc.reach import Reach
from webrtc.sdp import (
    MAX_CANDIDATES,
    MAX_OFFER_BYTES,
    MAX_SECTIONS,
    Offer,
    OfferMalformed,
    OfferRefused,
    OfferUnsupported,
    Refused,
    read_offer,
    usable_candidates,
)

DIGEST = ":".join(["AB"] * 32)
OFFER = f"""\
v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2113937151 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 51342 typ host generation 0
a=candidate:2 1 udp 1677729535 1.1.1.1 51343 typ srflx raddr 0.0.0.0 rport 0 generation 0
a=candidate:3 1 tcp 1518280447 1.1.1.1 9 typ host tcptype active generation 0
a=ice-ufrag:EsAw
a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y
a=ice-options:trickle
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 stereo=1;minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
"""
"""What Chromium sends, shortened."""


def read(text: str = OFFER, peer: Reach = Reach.WORLD) -> Offer:
    return read_offer(text.replace("\n", "\r\n").encode(), peer)


def without(attribute: str) -> str:
    """The offer without the lines of an attribute."""
    return "".join(line for line in OFFER.splitlines(keepends=True) if not line.startswith(f"a={attribute}"))


def test_what_a_browser_offers_is_read() -> None:
    offer = read()
    assert (offer.mid, offer.payload_type, offer.setup) == ("0", 111, "actpass")
    assert (offer.ufrag, offer.password) == ("EsAw", "bP+XJMM09aR8AiX1jdukzR6Y")
    assert offer.fingerprints == (("sha-256", DIGEST),)
    assert [str(one) for one in offer.candidates] == ["2 1 udp 1677729535 1.1.1.1 51343 typ srflx"]


def test_lines_may_end_with_a_line_feed_alone() -> None:
    """RFC 8866 5: parsers should accept it."""
    assert read_offer(OFFER.encode(), Reach.WORLD) == read()


def test_the_offer_is_written_anew_from_what_was_checked() -> None:
    """Nothing that is not understood here is parsed by the library."""
    written = read().render()
    assert read_offer(written.encode(), Reach.WORLD) == read()
    assert written.count("m=") == 1
    for absent in ("extmap", "red", "end-of-candidates", ".local", "rtcp-fb", "useinbandfec"):
        assert absent not in written


def test_attributes_of_the_session_hold_for_its_section() -> None:
    """RFC 8839 5.4, RFC 8122 5: credentials and fingerprint may stand once, before the first m= line."""
    moved = [f"a=fingerprint:sha-256 {DIGEST}", "a=ice-ufrag:EsAw", "a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y"]
    inner = "\n".join(line for line in OFFER.splitlines() if line not in moved)
    assert read(inner.replace("m=audio", "\n".join([*moved, "m=audio"])) + "\n") == read()


@pytest.mark.parametrize("attribute", ["ice-ufrag", "ice-pwd", "fingerprint", "setup", "rtcp-mux"])
def test_an_offer_without_what_a_connection_needs_is_malformed(attribute: str) -> None:
    """RFC 8829 5.2.1 wants all of these in every offer."""
    with pytest.raises(OfferMalformed, match=attribute):
        read(without(attribute))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=0", "v=1"),
        ("a=ice-ufrag:EsAw", "a=ice-ufrag:Es"),
        ("a=ice-ufrag:EsAw", "a=ice-ufrag:Es w"),
        ("a=ice-ufrag:EsAw", "a=ice-ufrag:EsAw\na=ice-ufrag:Other"),
        ("bP+XJMM09aR8AiX1jdukzR6Y", "tooshort"),
        (DIGEST, DIGEST[:-3]),
        (f"sha-256 {DIGEST}", "sha-256"),
        (f"sha-256 {DIGEST}", f"md5 {DIGEST}"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("a=mid:0", "a=mid:" + 17 * "x"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio nine UDP/TLS/RTP/SAVPF 111"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF opus"),
        ("m=audio", "m=video 9 <script>\nm=audio"),
        ("m=audio", "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\na=mid:2\nm=audio"),
    ],
)
def test_a_line_that_breaks_its_rule_makes_the_offer_malformed(old: str, new: str) -> None:
    assert old in OFFER
    with pytest.raises(OfferMalformed):
        read(OFFER.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("m=audio", "m=video", "no audio section"),
        ("a=recvonly", "a=sendonly", "does not receive"),
        ("a=recvonly", "a=inactive", "does not receive"),
        ("opus/48000/2", "opus/16000", "opus/48000/2"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF 112", "payload type"),
        ("a=rtpmap:111", "a=rtpmap:8", "payload type"),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", "SAVPF"),
        ("m=audio 9 ", "m=audio 0 ", "SAVPF"),
        ("m=audio", 8 * "m=video 9 UDP/TLS/RTP/SAVPF 96\n" + "m=audio", "9 media sections"),
    ],
)
def test_an_offer_of_something_else_than_hearing_opus_is_not_supported(
    old: str, new: str, reason: str
) -> None:
    assert old in OFFER
    with pytest.raises(OfferUnsupported, match=reason):
        read(OFFER.replace(old, new))


VIDEO = "m=video 0 UDP/TLS/RTP/SAVPF 96 97\na=bundle-only\na=ice-ufrag:Other\na=mid:v\na=recvonly\n"
CHANNEL = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:2\na=sctp-port:5000\n"


def test_what_is_offered_beside_the_audio_is_known_to_be_refused() -> None:
    """draft-ietf-wish-whep 4.2: players offer a picture too, not knowing what there is."""
    offer = read(OFFER.replace("m=audio", f"{VIDEO}m=audio") + CHANNEL)
    assert offer.place == 1
    assert offer.refused == (
        Refused(kind="video", profile="UDP/TLS/RTP/SAVPF", format="96", mid="v"),
        Refused(kind="application", profile="UDP/DTLS/SCTP", format="webrtc-datachannel", mid="2"),
    )
    assert replace(offer, refused=(), place=0) == read(), "and nothing of them is taken for the audio's"
    assert offer.render() == read().render()


def test_audio_that_only_goes_bundled_has_no_port() -> None:
    """RFC 9143 7.2.1: of a bundle only the first section has one, which may be the picture's."""
    bundled = VIDEO + OFFER[OFFER.index("m=audio") :].replace("m=audio 9", "m=audio 0") + "a=bundle-only\n"
    assert read("v=0\n" + bundled).place == 1


def test_a_second_audio_section_is_refused() -> None:
    offer = read(OFFER + "m=audio 9 UDP/TLS/RTP/SAVPF 111\n")
    assert (offer.place, [(one.kind, one.mid) for one in offer.refused]) == (0, [("audio", None)])


def test_as_many_sections_as_there_may_be_are_read() -> None:
    text = OFFER + (MAX_SECTIONS - 1) * CHANNEL
    assert len(read(text).refused) == MAX_SECTIONS - 1


def test_sendrecv_receives_too() -> None:
    """RFC 8866 6.7.2: it is also what stands for no direction at all."""
    assert read(OFFER.replace("a=recvonly", "a=sendrecv")) == read(without("recvonly")) == read()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"<html>", b"v=0", b"v=0\r\n", b"\r\n\r\n"])
def test_what_is_no_description_is_refused(body: bytes) -> None:
    with pytest.raises(OfferRefused):
        read_offer(body, Reach.WORLD)


def test_a_long_offer_is_refused_unread() -> None:
    with pytest.raises(OfferMalformed, match=str(MAX_OFFER_BYTES)):
        read_offer(OFFER.encode().ljust(MAX_OFFER_BYTES + 1), Reach.WORLD)


def test_a_refusal_does_not_repeat_the_offer() -> None:
    """It goes into an answer and a log, where a stranger's text has no place."""
    with pytest.raises(OfferMalformed) as refused:
        read(OFFER.replace("a=setup:actpass", "a=setup:<script>"))
    assert "<script>" not in str(refused.value)


@given(st.binary(max_size=400), st.integers(0, len(OFFER)), st.integers(0, 200))
def test_damage_leads_to_an_offer_or_a_refusal(noise: bytes, at: int, length: int) -> None:
    """Whatever a stranger sends, nothing else is raised, and what is passed on has the right form."""
    damaged = OFFER.encode()[:at] + noise + OFFER.encode()[at + length :]
    try:
        offer = read_offer(damaged, Reach.WORLD)
    except OfferRefused:
        return
    assert read_offer(offer.render().encode(), Reach.WORLD) == replace(offer, refused=(), place=0)


@given(st.text(string.printable, max_size=80), st.sampled_from(Reach))
def test_any_candidate_is_usable_or_left_out(text: str, peer: Reach) -> None:
    for found in usable_candidates([text, f"1 1 udp 1 {text}"], peer):
        assert list(usable_candidates([str(found)], peer)) == [found]


@pytest.mark.parametrize(
    ("address", "peers"),
    [
        ("1.1.1.1", {Reach.MACHINE, Reach.SITE, Reach.WORLD}),
        ("10.0.0.7", {Reach.MACHINE, Reach.SITE}),
        ("127.0.0.1", {Reach.MACHINE}),
        ("169.254.169.254", set()),
        ("224.0.0.251", set()),
    ],
)
def test_nobody_makes_the_server_send_further_inside_than_he_is(address: str, peers: set[Reach]) -> None:
    """RFC 8445 19.5.1: candidates are an order to send packets to a place of the peer's choice."""
    text = f"1 1 UDP 2113937151 {address} 50000 typ host"
    assert {peer for peer in Reach if list(usable_candidates([text], peer))} == peers


@pytest.mark.parametrize(
    "text",
    [
        "1 1 udp 2113937151 1.1.1.1 1023 typ host",
        "1 1 udp 2113937151 1.1.1.1 65536 typ host",
        "1 1 udp 0 1.1.1.1 50000 typ host",
        "1 1 udp 2147483648 1.1.1.1 50000 typ host",
        "1 2 udp 2113937151 1.1.1.1 50000 typ host",
        "1 1 tcp 2113937151 1.1.1.1 50000 typ host tcptype active",
        "1 1 udp 2113937151 1.1.1.1 50000 typ prflx",
        "1 1 udp 2113937151 somewhere.local 50000 typ host",
        "1 1 udp 2113937151 example.com 50000 typ host",
        "1 1 udp 2113937151 1.1.1.1 50000",
        "",
    ],
)
def test_a_candidate_that_is_not_to_be_used_is_left_out(text: str) -> None:
    """RFC 8839 5.1: what is not understood is ignored, and a name would be looked up."""
    assert list(usable_candidates([text], Reach.MACHINE)) == []


def test_more_candidates_than_a_browser_has_are_left_out() -> None:
    texts = [f"1 1 udp {number} 1.1.1.1 50000 typ host" for number in range(1, 2000)]
    assert [one.priority for one in usable_candidates(texts, Reach.WORLD)] == list(
        range(1, MAX_CANDIDATES + 1)
    )
