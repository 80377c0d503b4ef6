"""The song that benchmarks measure with: synthesised, the same every time, shaped like pop music.

Owns: the arrangement (sections of different loudness), its instruments and the cached FLAC file. An encoder's
work depends on what it hears: sines and white noise are its extremes, so this has bass, chords with
harmonics, a melody, and drums of filtered noise.
"""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 44_100
BEAT_S = 0.5
BEATS_A_BAR = 4
BAR_SAMPLES = round(BEAT_S * BEATS_A_BAR * RATE_HZ)
PEAK = 0.97
DRIVE = 3.5
"""Into a soft clipper, as masters are made: the song is as loud as what people upload."""

EDITION = 1
"""Part of the cached file's name: raise it whenever the samples change."""

Wave = NDArray[np.float64]
Stereo = NDArray[np.float32]

CHORDS = ((45, 57, 60, 64), (41, 53, 57, 60), (48, 55, 60, 64), (43, 55, 59, 62))
"""MIDI notes: the bass and a triad for each bar, Am F C G."""

SCALE = (69, 72, 74, 76, 79, 81, 84)

SECTIONS = (
    (4, 0.4, frozenset({"chords"})),
    (8, 0.7, frozenset({"chords", "bass", "kick", "melody"})),
    (8, 1.0, frozenset({"chords", "bass", "kick", "snare", "hats", "melody"})),
    (2, 0.3, frozenset({"melody"})),
    (6, 0.8, frozenset({"bass", "kick", "snare", "hats"})),
)
"""Bars, level and instruments of each section; repeated until the song is long enough."""


def song(seconds: float) -> Path:
    """The song as a 16-bit stereo FLAC in the temporary folder, made if it is not there yet.

    Args:
        seconds: its length; at least one second.
    """
    path = Path(tempfile.gettempdir()) / f"media-server-benchmark-{EDITION}-{seconds:g}s.flac"
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}")
        soundfile.write(unfinished, synthesise(seconds).T, RATE_HZ, format="FLAC", subtype="PCM_16")
        unfinished.replace(path)
    return path


def synthesise(seconds: float) -> Stereo:
    """PCM of the shape (2, samples), at most `PEAK`."""
    samples = round(seconds * RATE_HZ)
    bars = -(-samples // BAR_SAMPLES)
    # a tail beyond the last bar for notes that ring on
    mix = np.zeros((2, (bars + 2) * BAR_SAMPLES), np.float32)
    random = np.random.default_rng(20_260)
    for bar in range(bars):
        level, playing = _section(bar)
        _play_bar(mix, bar, level, playing, random)
    mastered = np.tanh(DRIVE * mix[:, :samples])
    return np.asarray(mastered * (PEAK / np.abs(mastered).max()), np.float32)


def _section(bar: int) -> tuple[float, frozenset[str]]:
    form = [(level, playing) for bars, level, playing in SECTIONS for _ in range(bars)]
    return form[bar % len(form)]


def _play_bar(
    mix: Stereo, bar: int, level: float, playing: frozenset[str], random: np.random.Generator
) -> None:
    bass, *triad = CHORDS[bar % len(CHORDS)]

    def play(wave: Wave, beat: float, gain: float, pan: float = 0.5) -> None:
        # a hand is never on time to the sample; so no two beats are the same to the encoder
        at = bar * BAR_SAMPLES + round(beat * BEAT_S * RATE_HZ) + int(random.integers(0, 200))
        gain *= level * random.uniform(0.85, 1.0)
        mix[0, at : at + len(wave)] += gain * np.sqrt(1 - pan) * wave
        mix[1, at : at + len(wave)] += gain * np.sqrt(pan) * wave

    if "chords" in playing:
        for i, note in enumerate(triad):
            play(_note(note, 2.2, 12, 1.4), 0, 0.16, pan=0.25 + 0.25 * i)
    if "bass" in playing:
        for beat in (0, 1.5, 2, 3.5):
            play(_note(bass - 12, 0.6, 8, 3.0), beat, 0.35)
    if "melody" in playing:
        for beat in np.arange(0, BEATS_A_BAR, 0.5):
            if random.random() < 0.6:
                play(_note(int(random.choice(SCALE)), 0.7, 16, 4.0), float(beat), 0.2, pan=0.6)
    for beat in range(BEATS_A_BAR):
        if "kick" in playing and beat % 2 == 0:
            play(_kick(), beat, 0.6)
        if "snare" in playing and beat % 2 == 1:
            play(_noise(0.25, 18.0, 0.3, int(random.integers(4))), beat, 0.4, pan=0.45)
        if "hats" in playing:
            for half in (0.0, 0.5):
                play(_noise(0.08, 60.0, 0.95, int(random.integers(4))), beat + half, 0.15, pan=0.7)


@cache
def _note(midi: int, seconds: float, harmonics: int, decay: float) -> Wave:
    """A plucked string: harmonics that die the sooner the higher they are, slightly out of tune."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    fundamental = 440.0 * 2 ** ((midi - 69) / 12)
    wave = np.zeros_like(t)
    for k in range(1, harmonics + 1):
        frequency = fundamental * k * np.sqrt(1 + 0.0004 * k * k)
        if frequency < RATE_HZ / 2:
            wave += np.sin(2 * np.pi * frequency * t + k * k) / k * np.exp(-decay * (1 + 0.15 * k) * t)
    return wave * np.minimum(1.0, t / 0.004) * np.minimum(1.0, (seconds - t) / 0.02)


@cache
def _kick() -> Wave:
    t = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
    return np.asarray(np.sin(2 * np.pi * (45 * t - 4 * np.exp(-30 * t))) * np.exp(-12 * t))


@cache
def _noise(seconds: float, decay: float, brightness: float, take: int) -> Wave:
    """A stroke of noise; `brightness` is the share of its high end, 0 to 1."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    white = np.random.default_rng(take).normal(0, 0.4, len(t))
    high = np.append(0.0, np.diff(white))
    return np.asarray((brightness * high + (1 - brightness) * white) * np.exp(-decay * t))
