"""What a job is to make is read strictly, and spelt out before it is made."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from media_server.errors import Unsupported
from media_server.jobs.options import Options
from pipeline.equalizer import PRESETS, Band


@pytest.mark.parametrize(
    "options",
    [{"ladder": []}, {"ladder": ["999k"]}, {"loudness": {"mode": "loud"}}, {"loudness": {"target_lufs": 1}},
     {"loudness": {"ceiling_dbtp": -21}}, {"segment_format": "avi"},
     {"segment_format": "ts", "ladder": ["opus-128"]}],
)  # fmt: skip
def test_options_outside_the_list_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Options.model_validate(options)


def test_a_job_gets_the_ladder_it_names_else_that_of_its_profile() -> None:
    """What is made is spelt out, so that a version does not depend on what a profile means later."""
    profiles = {"default": ("128k",), "studio": ("128k", "lossless")}
    assert Options().rungs(profiles) == ("128k",)
    assert Options(profile="studio").rungs(profiles) == ("128k", "lossless")
    assert Options(profile="studio", ladder=("96k",)).rungs(profiles) == ("96k",)
    spelt_out = Options(profile="studio").spelt_out(profiles)
    assert spelt_out == Options(ladder=("128k", "lossless")) == spelt_out.spelt_out({})


def test_a_profile_that_nobody_made_is_refused() -> None:
    with pytest.raises(Unsupported, match="profile must be one of default, studio") as refused:
        Options(profile="radio").rungs({"studio": ("128k",), "default": ("128k",)})
    assert refused.value.code == "unknown_profile"


def test_a_profile_must_have_what_mpegts_carries() -> None:
    """Known only once the profile is looked up; a ladder that is named is refused with the request."""
    options, profiles = Options(profile="studio", segment_format="ts"), {"studio": ("opus-64", "lossless")}
    with pytest.raises(Unsupported, match="segment_format ts carries AAC, studio has none") as refused:
        options.rungs(profiles)
    assert refused.value.code == "profile_without_aac"


BAND = {"type": "peaking", "frequency_hz": 1_000, "gain_db": 3}


@pytest.mark.parametrize(
    ("eq", "bands"),
    [
        (None, ()),
        ({"preset": "flat"}, ()),
        ({"preset": "warm"}, PRESETS["warm"]),
        ({"bands": []}, ()),
        (
            {"bands": [BAND, {"type": "low_pass", "frequencyHz": 9_000, "q": 1}]},
            (
                Band(type="peaking", frequency_hz=1_000.0, gain_db=3.0),
                Band(type="low_pass", frequency_hz=9_000.0, q=1.0),
            ),
        ),
    ],
)
def test_an_equalizer_is_a_preset_or_bands(eq: dict[str, object] | None, bands: tuple[Band, ...]) -> None:
    assert Options.model_validate({"eq": eq}).equalizer_bands == bands


@pytest.mark.parametrize(
    "eq",
    [
        {},
        {"preset": "loud"},
        {"preset": "warm", "bands": []},
        {"bands": [{"type": "peaking"}]},
        {"bands": [BAND | {"type": "comb"}]},
        {"bands": [BAND | {"frequency_hz": 19}]},
        {"bands": [BAND | {"frequency_hz": 20_001}]},
        {"bands": [BAND | {"gain_db": -24.5}]},
        {"bands": [BAND | {"gain_db": float("nan")}]},
        {"bands": [BAND | {"q": 10.5}]},
        {"bands": [BAND | {"type": "notch"}]},
        {"bands": [BAND] * 17},
        [BAND],
        "warm",
    ],
)
def test_an_equalizer_outside_its_ranges_is_refused(eq: object) -> None:
    with pytest.raises(ValidationError, match="eq"):
        Options.model_validate({"eq": eq})


@pytest.mark.parametrize(
    ("target_lufs", "ceiling_dbtp", "fits"),
    [(-70, -20, True), (0, 0, True), (-70.1, -1, False), (0.1, -1, False), (-14, 0.1, False),
     (float("nan"), -1, False), (-14, float("nan"), False), (float("-inf"), -1, False)],
)  # fmt: skip
def test_the_loudness_options_have_the_ranges_of_the_gain(
    target_lufs: float, ceiling_dbtp: float, fits: bool
) -> None:
    fields = {"loudness": {"targetLufs": target_lufs, "ceilingDbtp": ceiling_dbtp}}
    if fits:
        assert Options.model_validate(fields).loudness.target_lufs == target_lufs
    else:
        with pytest.raises(ValidationError):
            Options.model_validate(fields)
