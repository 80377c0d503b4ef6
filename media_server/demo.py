"""The demo: a short piece of synthesised music of our own, so that a first run has something to play.

Owns: its score and its instruments. Deterministic: noise is seeded, nothing reads a clock. Every sound is a
float64 array of the shape (2, samples), or (samples,) before it is placed between the loudspeakers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

Sound = NDArray[np.float64]

TITLE = "Veza Demo: Slow Tide"
ARTIST = "Veza Demo Ensemble"

RATE_HZ = 44_100
SAMPLES = 28 * RATE_HZ
"""Has only 2, 3, 5 and 7 as factors, so that transforms of the whole piece are fast."""

BEAT_SAMPLES = 28_665
"""0.65 s: 92.3 beats a minute."""
BAR_SAMPLES = 4 * BEAT_SAMPLES
SEED = 20_240

PEAK = 10 ** (-3 / 20)
FADE_IN_S = 0.02
FADE_OUT_S = 3.5

PAD_TOP_HZ = 6_000
"""Over the eighth harmonic of the highest chord tone, players out of tune included."""

BARS = (
    # bass note, then the chord, as MIDI note numbers: D major, tones in common are kept
    (38, (57, 62, 66, 69, 73)),  # D maj7
    (35, (57, 62, 66, 69, 71)),  # B m7
    (43, (55, 59, 62, 66, 71)),  # G maj7
    (45, (55, 59, 62, 64, 69)),  # A 9 sus4
    (38, (57, 62, 66, 69, 73)),  # D maj7
    (42, (57, 61, 64, 66, 73)),  # F#m7
    (43, (55, 59, 62, 66, 69)),  # G maj9
    (45, (55, 59, 62, 64, 69)),  # A 9 sus4
    (43, (55, 59, 62, 66, 71)),  # G maj7
    (38, (57, 62, 66, 69, 74)),  # D
)
ARPEGGIO = (0, 2, 4, 1, 3, 2, 4, 3)
"""Which tone of the chord each eighth note plucks."""

MELODY = (
    # bar, eighth note, MIDI note, length in beats
    *((4, 0, 81, 1.5), (4, 3, 78, 1.0), (4, 6, 76, 1.0), (5, 0, 73, 2.0), (5, 6, 76, 1.0)),
    *((6, 0, 74, 1.5), (6, 3, 78, 1.0), (6, 6, 81, 1.0), (7, 0, 83, 1.5), (7, 3, 81, 2.5)),
    *((8, 2, 78, 1.5), (8, 6, 76, 1.0), (9, 0, 74, 4.0)),
)
PLUCK_LEVELS = (0.0, 0.45, 0.7, 0.8, 1.0, 1.0, 1.0, 1.0, 0.55, 0.0)
BASS_LEVELS = (0.0, 0.0, 0.75, 0.85, 1.0, 1.0, 1.0, 1.0, 0.6, 0.5)
DRUM_LEVELS = (0.0, 0.0, 0.0, 0.6, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
PAD_LEVELS = (0.45, 0.55, 0.7, 0.8, 1.0, 1.0, 1.0, 1.0, 0.8, 0.7)
"""One level a bar: it begins alone and quietly, is full from the fifth bar, and ends as it began."""


def render_demo() -> NDArray[np.float32]:
    """The piece: shape (2, samples) at 44.1 kHz, 28 s, its largest sample at -3 dBFS."""
    noise = np.random.default_rng(SEED)
    dry = np.zeros((2, SAMPLES))
    sent = np.zeros((2, SAMPLES))  # what goes to the room
    for bar, (bass_note, chord) in enumerate(BARS):
        start = bar * BAR_SAMPLES
        pad = PAD_LEVELS[bar] * _pad(chord, noise)
        _add(dry, pad, start - len(_RISE) // 2, 0.30)
        _add(sent, pad, start - len(_RISE) // 2, 0.15)
        _add(dry, _centred(BASS_LEVELS[bar] * _bass(bass_note)), start, 0.30)
        for at, pluck in _plucks(bar, chord):
            _add(dry, pluck, at, 0.20)
            _add(sent, pluck, at, 0.14)
        for at, hit in _drums(bar, noise):
            _add(dry, hit, at, 1.0)
            _add(sent, hit, at, 0.12)
    for bar, eighth, note, beats in MELODY:
        at = bar * BAR_SAMPLES + eighth * BEAT_SAMPLES // 2
        bell = _placed(_bell(note, beats), 0.12)
        _add(dry, bell, at, 0.16)
        _add(sent, bell, at, 0.16)
    return _mastered(dry + _in_a_room(sent, noise))


def write_demo(path: Path) -> None:
    """Write the piece as a 24-bit FLAC file with its tags, whatever the path is called."""
    pcm = render_demo()
    with soundfile.SoundFile(path, "w", RATE_HZ, pcm.shape[0], "PCM_24", format="FLAC") as file:
        file.title, file.artist = TITLE, ARTIST
        file.write(pcm.T)


def _times(duration_s: float) -> Sound:
    return np.arange(round(duration_s * RATE_HZ)) / RATE_HZ


def _frequency_hz(note: float) -> float:
    """Of a MIDI note number, A4 = 69 = 440 Hz."""
    return float(440.0 * 2 ** ((note - 69) / 12))


def _swell(samples: int) -> Sound:
    """From 0 to 1 and level at both ends, so that neither corner is heard."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(samples) / samples)


_RISE = _swell(round(0.9 * RATE_HZ))


def _add(mix: Sound, sound: Sound, at: int, level: float) -> None:
    """Add to the mix in place; what would lie outside of it is left out."""
    first, last = max(at, 0), min(at + sound.shape[1], mix.shape[1])
    mix[:, first:last] += level * sound[:, first - at : last - at]


def _placed(sound: Sound, to_the_right: float) -> Sound:
    """Between the loudspeakers, -1 (left) to 1 (right), at equal power."""
    angle = (to_the_right + 1) * np.pi / 4
    return np.stack([np.cos(angle) * sound, np.sin(angle) * sound])


def _centred(sound: Sound) -> Sound:
    return _placed(sound, 0.0)


def _pad(chord: tuple[int, ...], noise: np.random.Generator) -> Sound:
    """A choir of strings: each harmonic is a narrow band of noise, as many players out of tune make it.

    Drawn as a spectrum and transformed once. The sides have phases of their own over a common middle,
    which is what makes it wide.
    """
    samples = BAR_SAMPLES + len(_RISE)
    magnitude = np.zeros(PAD_TOP_HZ * samples // RATE_HZ)  # above it all is zero
    for note in chord:
        for harmonic in range(1, 9):
            centre_hz = harmonic * _frequency_hz(note)
            width_hz = 0.004 * centre_hz  # about 7 cents to either side
            reach = np.arange(-4 * width_hz, 4 * width_hz, RATE_HZ / samples)
            bins = np.round((centre_hz + reach) * samples / RATE_HZ).astype(int)
            strength = np.exp(-centre_hz / 1400) / harmonic**1.1
            magnitude[bins] += strength * np.exp(-0.5 * (reach / width_hz) ** 2) / np.sqrt(width_hz)
    phases = np.exp(2j * np.pi * noise.random((3, len(magnitude))))
    middle, left, right = np.fft.irfft(magnitude * phases, samples)
    sound = np.stack([middle + 0.8 * left, middle + 0.8 * right])
    sound /= np.sqrt(np.mean(sound**2)) * 4
    sound[:, : len(_RISE)] *= _RISE
    sound[:, -len(_RISE) :] *= _RISE[::-1]
    return np.asarray(sound)


def _bass(note: int) -> Sound:
    """One long note a bar and a push on its last eighth."""
    out = np.zeros(BAR_SAMPLES)
    for first, beats in ((0.0, 3.3), (3.5, 0.5)):
        t = _times(beats * BEAT_SAMPLES / RATE_HZ)
        phase = 2 * np.pi * _frequency_hz(note) * t
        tone = (
            np.sin(phase)
            + 0.35 * np.sin(2 * phase) * np.exp(-2 * t)
            + 0.12 * np.sin(3 * phase) * np.exp(-4 * t)
        )
        envelope = np.minimum(t / 0.012, 1) * np.exp(-0.5 * t) * np.minimum((t[-1] - t) / 0.06, 1)
        at = int(first * BEAT_SAMPLES)
        out[at : at + len(t)] += np.tanh(1.2 * tone * envelope)[: len(out) - at]
    return out


def _plucks(bar: int, chord: tuple[int, ...]) -> Iterator[tuple[int, Sound]]:
    """The arpeggio an octave above the chord, going from side to side, each tone with its echo across."""
    if not PLUCK_LEVELS[bar]:
        return
    strings = [_pluck(note + 12) for note in chord]
    for eighth, tone in enumerate(ARPEGGIO):
        level = PLUCK_LEVELS[bar] * (1.0 if eighth % 4 == 0 else 0.75 if eighth % 2 == 0 else 0.6)
        sound = level * strings[tone]
        side = 0.55 * np.sin(1.9 * (8 * bar + eighth))
        at = bar * BAR_SAMPLES + eighth * BEAT_SAMPLES // 2
        yield at, _placed(sound, side)
        yield at + 3 * BEAT_SAMPLES // 4, _placed(0.33 * sound, -side)


def _pluck(note: int) -> Sound:
    """A struck string by frequency modulation: bright at first, then nearly a sine."""
    t = _times(1.3)
    phase = 2 * np.pi * _frequency_hz(note) * t
    brightness = 2.2 * np.exp(-9 * t) + 0.25 * np.exp(-2 * t)
    return np.asarray(np.sin(phase + brightness * np.sin(2 * phase)) * _struck(t, 3.2, 0.002))


def _bell(note: int, beats: float) -> Sound:
    """The melody: a soft electric piano, two voices slightly apart."""
    t = _times(beats * BEAT_SAMPLES / RATE_HZ + 0.5)
    tremolo = 1 + 0.12 * np.sin(2 * np.pi * 4.6 * t)
    voices = np.zeros_like(t)
    for cents in (-4, 4):
        phase = 2 * np.pi * _frequency_hz(note + cents / 100) * t
        shimmer = 0.5 * np.exp(-5 * t) * np.sin(5 * phase)
        voices += np.sin(phase + 0.9 * np.exp(-1.5 * t) * np.sin(phase) + shimmer)
    return 0.5 * voices * tremolo * _struck(t, 1.1, 0.008)


def _struck(t: Sound, decay: float, attack_s: float) -> Sound:
    """The envelope of what is struck and let go: up, down, and out at the very end."""
    return np.asarray(np.minimum(t / attack_s, 1) * np.exp(-decay * t) * np.minimum((t[-1] - t) / 0.1, 1))


def _drums(bar: int, noise: np.random.Generator) -> Iterator[tuple[int, Sound]]:
    """A soft kick on one and three, a brush on two and four, a shaker between the sides."""
    level, start = DRUM_LEVELS[bar], bar * BAR_SAMPLES
    if not level:
        return
    for beat in (0.0, 2.0, 2.5):
        yield start + int(beat * BEAT_SAMPLES), _centred(level * (0.19 if beat < 2.5 else 0.12) * _kick())
    for beat in (1, 3):
        yield start + beat * BEAT_SAMPLES, _placed(level * 0.07 * _brush(noise, 0.16, 1), -0.15)
    for sixteenth in range(16):
        accent = 1.0 if sixteenth % 4 == 2 else 0.45
        swing = BEAT_SAMPLES // 24 if sixteenth % 2 else 0
        hit = _placed(level * 0.035 * accent * _brush(noise, 0.045, 2), 0.4)
        yield start + sixteenth * BEAT_SAMPLES // 4 + swing, hit


def _kick() -> Sound:
    t = _times(0.35)
    phase = 2 * np.pi * (48 * t + 70 / 38 * (1 - np.exp(-38 * t)))  # falls from 118 to 48 Hz
    return np.sin(phase) * _struck(t, 9, 0.002)


def _brush(noise: np.random.Generator, decay_s: float, brightness: int) -> Sound:
    """A breath of noise; each difference takes 6 dB an octave from its lows."""
    t = _times(4 * decay_s)
    hiss = np.diff(noise.standard_normal(len(t) + brightness), brightness) / 2**brightness
    smoothed = np.convolve(hiss, [0.25, 0.5, 0.25], "same")  # no fizz at the very top
    return 3 * smoothed * _struck(t, 1 / decay_s, 0.004)


def _in_a_room(sent: Sound, noise: np.random.Generator) -> Sound:
    """Convolve with decaying noise, another in each ear; its highs are darker than its lows.

    The convolution is a circular one: the piece ends in silence longer than the room rings.
    """
    t = _times(1.8)
    room = noise.standard_normal((2, len(t))) * np.exp(-3.4 * t) * np.minimum(t / 0.015, 1)
    room *= np.minimum((t[-1] - t) / 0.3, 1)
    room /= np.sqrt(np.sum(room**2, axis=1, keepdims=True))
    frequency_hz = np.fft.rfftfreq(SAMPLES, 1 / RATE_HZ)
    colour = 1 / (1 + (frequency_hz / 3500) ** 2) * frequency_hz**2 / (frequency_hz**2 + 180.0**2)
    # single precision: half the time, and what is lost lies below the 24 bits of the file
    wet = np.fft.rfft(sent.astype(np.float32)) * np.fft.rfft(room.astype(np.float32), SAMPLES)
    return np.asarray(np.fft.irfft(wet * colour.astype(np.float32), SAMPLES), np.float64)


def _mastered(mix: Sound) -> NDArray[np.float32]:
    """Gently rounded, free of an offset, faded at both ends, brought to its level."""
    mix = np.tanh(1.3 * mix / np.abs(mix).max())
    mix -= mix.mean(axis=1, keepdims=True)
    rise, fall = round(FADE_IN_S * RATE_HZ), round(FADE_OUT_S * RATE_HZ)
    mix[:, :rise] *= _swell(rise)
    mix[:, -fall:] *= _swell(fall)[::-1]
    return np.asarray(mix * (PEAK / np.abs(mix).max()), np.float32)
