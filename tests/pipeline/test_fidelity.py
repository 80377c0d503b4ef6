"""What a coder has cut is seen, block by block, and only that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import signals

from pipeline.audit import Audit, Given
from pipeline.encode import Encoder
from pipeline.fidelity import (
    LOUD_LUFS,
    MOST_LOSS_BELOW_LU,
    MOST_LOSS_LU,
    is_cut,
    largest_loss_lu,
    thorough,
)
from pipeline.ladder import ladder_for
from pipeline.normalize import CodedLoudness
from pipeline.programme import OFFSET_LU

LADDER = ladder_for(2, ("128k", "320k", "opus-128", "lossless"))
SEARCHED = thorough(LADDER)


def powers(*lufs: float) -> np.ndarray:
    return np.array([10 ** ((one - OFFSET_LU) / 10) for one in lufs])


@pytest.mark.parametrize(
    ("given", "coded", "loss_lu"),
    [
        ((-14.0, -14.0), (-14.0, -14.0), 0.0),
        ((-14.0, -14.0, -20.0), (-14.1, -15.2, -20.0), 1.2),
        ((-14.0,), (-13.0,), 0.0),
        ((-40.0, -14.0), (-50.0, -14.0), 0.0),
        ((-14.0, -14.0, -14.0), (-14.2, -14.0), 0.2),
        ((-40.0,), (-50.0,), 0.0),
        ((), (), 0.0),
    ],
    ids=["same", "one-block", "louder", "soft", "shorter", "all-soft", "nothing"],
)
def test_the_loss_is_that_of_the_loud_block_that_lost_most(
    given: tuple[float, ...], coded: tuple[float, ...], loss_lu: float
) -> None:
    assert largest_loss_lu(powers(*given), powers(*coded)) == pytest.approx(loss_lu, abs=1e-9)


def test_what_came_back_silent_is_a_loss() -> None:
    assert largest_loss_lu(powers(-14.0), np.zeros(1)) > 60
    assert LOUD_LUFS < -14.0


def test_the_highest_rung_of_the_fast_coder_decides() -> None:
    """Lower ones leave out treble; what searches already has nothing better behind it."""

    def coded(**loss_lu: float) -> dict[str, CodedLoudness]:
        named = {name.replace("_", "-").lstrip("r"): loss for name, loss in loss_lu.items()}
        return {
            name: CodedLoudness(integrated_lufs=-14.0, true_peak_dbtp=-1.0, loss_lu=loss)
            for name, loss in named.items()
        }

    cut = MOST_LOSS_LU + 0.01
    assert is_cut(LADDER, coded(r128k=cut, r320k=cut, opus_128=0.0))
    assert not is_cut(LADDER, coded(r128k=cut, r320k=MOST_LOSS_LU, opus_128=cut))
    low = ladder_for(2, ("128k", "192k"))
    assert not is_cut(low, coded(r192k=MOST_LOSS_BELOW_LU))
    assert is_cut(low, coded(r192k=MOST_LOSS_BELOW_LU + 0.01))
    assert not is_cut(SEARCHED, coded(r128k=cut, r320k=cut))
    assert not is_cut(ladder_for(2, ("opus-128",)), coded(opus_128=cut))
    assert not is_cut((), {})
    assert [rung.is_thorough for rung in SEARCHED] == [True, True, False, False]
    assert [replace(rung, is_thorough=False) for rung in SEARCHED] == list(LADDER)


@pytest.mark.parametrize("is_thorough", [False, True])
def test_a_loud_tone_with_nothing_beside_it(is_thorough: bool) -> None:
    """A sine of 55 Hz at -1 dBFS: the fast coder takes over 2 dB of it, the one that searches nothing."""
    [rung] = ladder_for(2, ("320k",))
    encoder, given = Encoder(replace(rung, is_thorough=is_thorough)), Given(2)
    audit = Audit(encoder.rendition, encoder.codec_config)
    for block in signals.blocks(signals.sine(55, 2.0, amplitude=0.891)):
        [same] = given.push(block)
        audit.push(encoder.push(same))
    audit.push(encoder.flush())
    loss_lu = audit.result(given.blocks).loss_lu
    assert (loss_lu < 0.01) if is_thorough else (loss_lu > 2.0)


def test_music_loses_nothing_that_counts() -> None:
    [rung] = ladder_for(2, ("320k",))
    encoder, given = Encoder(rung), Given(2)
    audit = Audit(encoder.rendition, encoder.codec_config)
    for block in signals.blocks(signals.music(4.0)):
        [same] = given.push(block)
        audit.push(encoder.push(same))
    audit.push(encoder.flush())
    assert given.flush() == []
    assert audit.result(given.blocks).loss_lu < 0.1
