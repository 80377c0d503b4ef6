"""The header of ADTS is the one that FFmpeg writes, and the channels are those that were encoded."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import av
import pytest

from hls import adts

Sound = Callable[..., tuple[Any, list[Any], Any]]


@pytest.mark.parametrize("channels", [1, 2])
def test_the_frames_are_those_of_another_writer_byte_for_byte(channels: int) -> None:
    """ISO/IEC 14496-3 1.A.2.2: FFmpeg's ADTS muxer over the same packets."""
    written, coded = BytesIO(), []
    with av.open(written, "w", format="adts") as container:
        stream = container.add_stream("aac", 48_000, layout={1: "mono", 2: "stereo"}[channels])
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        silence = av.AudioFrame(format="fltp", layout=stream.codec_context.layout, samples=5 * 1024)
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        silence.sample_rate, silence.pts = 48_000, 0
        for packet in [*stream.encode(silence), *stream.encode(None)]:
            coded.append(bytes(packet))
            container.mux(packet)
    assert len(coded) > 3
    assert written.getvalue() == b"".join(adts.header(len(frame), channels) + frame for frame in coded)


@pytest.mark.parametrize("channels", [1, 2])
def test_frames_tell_how_many_channels_they_have(sound: Sound, channels: int) -> None:
    """4.4.2.1: by the first element. This encoder puts its name, a fill element, into the first frame."""
    _, packets, _ = sound(3_000, channels)
    assert packets[0].data[0] >> 5 == 6
    assert adts.channels_of(packet.data for packet in packets) == channels


@pytest.mark.parametrize("frames", [[], [b""], [b"\xc0", b"\xff"]])
def test_frames_without_a_channel_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ValueError, match="no frame begins with a channel"):
        adts.channels_of(frames)


@pytest.mark.parametrize(("channels", "most"), [(1, 768), (2, 1536)])
def test_a_frame_longer_than_aac_allows_is_refused(channels: int, most: int) -> None:
    """4.5.3.1: 6144 bits a channel; so thirty of them always fit a PES."""
    assert len(adts.header(most, channels)) == adts.HEADER_BYTES
    with pytest.raises(ValueError, match=f"at most {most}"):
        adts.header(most + 1, channels)
