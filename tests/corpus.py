"""The files that others made, as their list has them, and how long each is."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import av
import soundfile

from pipeline.grid import at_rate

FOLDER = Path(os.environ.get("MEDIA_CORPUS_DIR") or Path(__file__).resolve().parents[2] / "shared/corpus")
"""As the fixture `corpus_dir` has it; here it may be absent."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A line of manifest.tsv: what FFmpeg decodes. `is_whole` unless it stopped at an error."""

    path: str
    rate_hz: int
    samples: int
    is_whole: bool

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate_hz

    def length(self) -> tuple[int, int]:
        """Samples of sound, and their rate: the first, if it changes on the way.

        FFmpeg's own count, without the end of the last frame in MP4, which it plays whatever the file says.
        Of Ogg Vorbis libvorbis' count: FFmpeg loses the end of a stream of one page.
        """
        if not self.is_whole:
            return self.samples, self.rate_hz
        stretches: list[tuple[int, int]] = []
        beyond = 0
        with av.open(str(FOLDER / self.path), metadata_errors="ignore") as container:
            stream = container.streams.audio[0]
            if (container.format.name, stream.codec_context.name) == ("ogg", "vorbis"):
                info = soundfile.info(FOLDER / self.path)
                return info.frames, info.samplerate
            in_mp4 = container.format.name.startswith("mov") and stream.codec_context.name == "aac"
            for packet in container.demux(stream):
                frames = packet.decode()
                stretches += [(frame.samples, frame.sample_rate) for frame in frames]
                if in_mp4 and frames and packet.duration and packet.time_base:
                    lasts = round(packet.duration * packet.time_base * frames[-1].sample_rate)
                    beyond = max(frames[-1].samples - lasts, 0)
        rate_hz = stretches[0][1]
        by_rate = {rate: sum(n for n, other in stretches if other == rate) for _, rate in stretches}
        decoded = sum(at_rate(samples, rate, rate_hz) for rate, samples in by_rate.items())
        return decoded - beyond, rate_hz

    def __str__(self) -> str:
        return self.path


def listed() -> list[Listed]:
    """All files with sound in them, the shortest first; none where the corpus is absent."""
    if not (FOLDER / "manifest.tsv").is_file():
        return []
    with (FOLDER / "manifest.tsv").open() as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t"))
    found = [
        Listed(row["path"], int(row["rate"]), int(row["decoded_samples"]), row["result"] == "ok")
        for row in rows
        if row["result"] in ("ok", "partial")
    ]
    return sorted(found, key=lambda one: (one.duration_s, one.path))
