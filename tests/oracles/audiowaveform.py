"""BBC audiowaveform 1.10 as the judge of waveforms, and what it made of a table of small signals.

`tests/vectors/waveform/audiowaveform.json` holds the hashes, so that the program itself is needed only by
`make oracle`, which holds it and the server against each other, and by `python -m oracles.audiowaveform`,
which writes the table anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import signals
import soundfile
from numpy.typing import NDArray

RATE_HZ = 48_000
VECTORS = Path(__file__).parent.parent / "vectors" / "waveform" / "audiowaveform.json"

LENGTHS_AND_ZOOMS = ((1, 256), (256, 256), (257, 512), (700, 768), (5_000, 256), (5_000, 1_280))
"""Samples of each channel, samples a pixel: one, a whole pixel, one more, and odd tails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A signal and how it is drawn."""

    signal: signals.WholeSignal
    channels: int
    samples: int
    zoom: int
    split: bool
    bits: Literal[8, 16]

    def __str__(self) -> str:
        lanes = "split" if self.split else "mix"
        return (
            f"{self.signal} {self.channels}ch {self.samples} samples, {self.zoom}/px {lanes} {self.bits} bits"
        )

    @property
    def pcm(self) -> NDArray[np.int16]:
        return signals.whole(self.signal, self.samples, channels=self.channels)


CASES = tuple(
    Case(signal=signal, channels=channels, samples=samples, zoom=zoom, split=split, bits=bits)
    for signal, (samples, zoom), (channels, split), bits in product(
        signals.WHOLE_SIGNALS, LENGTHS_AND_ZOOMS, ((1, False), (2, False), (2, True)), (8, 16)
    )
)
"""Mono has no channels to split."""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def golden() -> dict[str, list[str]]:
    """Case to the digests of the .dat and of the .json that audiowaveform made."""
    vectors: dict[str, list[str]] = json.loads(VECTORS.read_text())
    return vectors


def program() -> Path | None:
    """Where the program is: AUDIOWAVEFORM, else on PATH; None where there is none."""
    named = os.environ.get("AUDIOWAVEFORM", "")
    found = named if Path(named).is_file() else shutil.which("audiowaveform")
    return Path(found) if found else None


def make(program: Path, case: Case, pcm: NDArray[np.int16], folder: Path) -> list[bytes]:
    """The .dat and the .json that the program makes of a WAV of the PCM."""
    soundfile.write(folder / "in.wav", pcm.T, RATE_HZ, subtype="PCM_16")
    split = ["--split-channels"] if case.split else []
    options = ["-q", "-z", str(case.zoom), "-b", str(case.bits), *split]
    made = []
    for extension in ("dat", "json"):
        target = folder / f"out.{extension}"
        subprocess.run([program, "-i", folder / "in.wav", "-o", target, *options], check=True)
        made.append(target.read_bytes())
    return made


def vectors(program: Path) -> dict[str, list[str]]:
    """The table, made anew."""
    with TemporaryDirectory() as folder:
        return {
            str(case): [digest(data) for data in make(program, case, case.pcm, Path(folder))]
            for case in CASES
        }


if __name__ == "__main__":
    found = program()
    assert found is not None, "no audiowaveform: make oracle builds it"
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(two)}" for name, two in vectors(found).items())
    VECTORS.write_text("{\n" + lines + "\n}\n")
