"""An HLS presentation as a client has it: fetched over HTTP, then taken apart box by box.

Owns: reading playlists with a parser of others (m3u8) and the timing that the boxes state.
Source: ISO/IEC 14496-12 8.6.6 (elst), 8.8.7 (tfhd), 8.8.8 (trun), 8.8.12 (tfdt).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from urllib.parse import urljoin

import av
import httpx2
import m3u8
import numpy as np
from numpy.typing import NDArray

from hls.boxes import walk

Pcm = NDArray[np.float32]

DEFAULT_SAMPLE_DURATION = 0x000008  # tfhd
SAMPLE_DESCRIPTION_INDEX = 0x000002
DATA_OFFSET, FIRST_SAMPLE_FLAGS = 0x000001, 0x000004  # trun
SAMPLE_DURATION, SAMPLE_FIELDS = 0x000100, (0x000100, 0x000200, 0x000400, 0x000800)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rendition with all its bytes. `extinf_s` are the playlist's durations, in seconds."""

    name: str
    init: bytes
    segments: tuple[bytes, ...]
    extinf_s: tuple[float, ...]

    @property
    def media_time(self) -> int:
        """Samples that the edit list skips; 0 without one."""
        edits = find(self.init, b"moov", b"trak", b"edts", b"elst")
        if not edits:
            return 0
        version_and_flags, count, duration, start = struct.unpack_from(">IIIi", edits[0])
        assert (version_and_flags, count, duration) == (0, 1, 0), "one edit to the end is what a fragment has"
        return int(start)

    @property
    def cuts(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Of each segment: its decode time and the durations of its samples, in samples."""
        return tuple((decode_time(segment), sample_durations(segment)) for segment in self.segments)

    @property
    def presented_samples(self) -> int:
        """How long the sound is, as the container says it."""
        return sum(sum(durations) for _, durations in self.cuts) - self.media_time

    def decoded(self) -> Pcm:
        """(channels, samples) at the rendition's rate, as FFmpeg decodes init and segments in one piece."""
        return decode(self.init + b"".join(self.segments))


def decode(file: bytes | str) -> Pcm:
    """A file of a lossy codec, its bytes or its address, as (channels, samples) at its own rate."""
    with av.open(file if isinstance(file, str) else io.BytesIO(file), "r") as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(frames, axis=1)


def read(client: httpx2.Client, master_url: str) -> dict[str, Rung]:
    """All renditions of a multivariant playlist, in its order, by the name in their URI."""
    master = _playlist(client, master_url)
    assert master.is_variant
    rungs = {}
    for variant in master.playlists:
        assert variant.uri is not None
        name = variant.uri.partition("?")[0].removeprefix("stream_").removesuffix(".m3u8")
        rungs[name] = _rung(client, name, urljoin(master_url, variant.uri))
    return rungs


def _rung(client: httpx2.Client, name: str, url: str) -> Rung:
    playlist = _playlist(client, url)
    (init_section,) = playlist.segment_map
    return Rung(
        name=name,
        init=_bytes(client, urljoin(url, init_section.uri)),
        segments=tuple(_bytes(client, urljoin(url, segment.uri)) for segment in playlist.segments),
        extinf_s=tuple(segment.duration or 0.0 for segment in playlist.segments),
    )


def _playlist(client: httpx2.Client, url: str) -> m3u8.M3U8:
    return m3u8.loads(_bytes(client, url).decode(), uri=url)


def _bytes(client: httpx2.Client, url: str) -> bytes:
    response = client.get(url)
    assert response.status_code == httpx2.codes.OK, f"{url}: {response.status_code}"
    return response.content


def find(data: bytes, *path: bytes) -> list[bytes]:
    """The payloads of the boxes at this path."""
    found = [data]
    for kind in path:
        found = [
            inside[one.payload_start : one.end]
            for inside in found
            for one in walk(inside)
            if one.kind == kind
        ]
    return found


def decode_time(segment: bytes) -> int:
    (payload,) = find(segment, b"moof", b"traf", b"tfdt")
    assert payload[0] == 1, "64 bits"
    return int.from_bytes(payload[4:12], "big")


def sample_durations(segment: bytes) -> tuple[int, ...]:
    (header,) = find(segment, b"moof", b"traf", b"tfhd")
    (run,) = find(segment, b"moof", b"traf", b"trun")
    flags, count = (int(field) for field in struct.unpack_from(">II", run))
    flags &= 0xFFFFFF
    if not flags & SAMPLE_DURATION:
        return (_default_duration(header),) * count
    start = 8 + 4 * bool(flags & DATA_OFFSET) + 4 * bool(flags & FIRST_SAMPLE_FLAGS)
    width = 4 * sum(bool(flags & field) for field in SAMPLE_FIELDS)
    return tuple(int.from_bytes(run[at : at + 4], "big") for at in range(start, start + count * width, width))


def _default_duration(header: bytes) -> int:
    flags = int.from_bytes(header[1:4], "big")
    assert flags & DEFAULT_SAMPLE_DURATION, "neither the run nor its header says how long a sample is"
    assert not flags & 1, "offsets count from the moof"
    return int(struct.unpack_from(">I", header, 8 + 4 * bool(flags & SAMPLE_DESCRIPTION_INDEX))[0])
