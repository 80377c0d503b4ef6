"""What a job is to make of its source: the renditions, the files, how loud, and shaped in which way.

Pure: values, read strictly, and what they stand for. They are a part of `track.uploaded`, of an HTTP submit
and of the OpenAPI schema.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasGenerator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from media_server.errors import Unsupported
from media_server.profiles import DEFAULT, NAME_PATTERN, Profiles
from pipeline import equalizer
from pipeline.ladder import RUNGS, Codec
from pipeline.outputs import DEFAULT_OUTPUTS, OUTPUTS


def _known_rendition(name: str) -> str:
    if name not in RUNGS:
        raise ValueError(f"must be one of {', '.join(RUNGS)}")
    return name


def _known_preset(name: str) -> str:
    if name not in equalizer.PRESETS:
        raise ValueError(f"must be one of {', '.join(equalizer.PRESETS)}")
    return name


def _known_output(name: str) -> str:
    if name not in OUTPUTS:
        raise ValueError(f"must be one of {', '.join(OUTPUTS)}")
    return name


RenditionName = Annotated[
    str, AfterValidator(_known_rendition), Field(json_schema_extra={"enum": list(RUNGS)})
]

PresetName = Annotated[
    str, AfterValidator(_known_preset), Field(json_schema_extra={"enum": list(equalizer.PRESETS)})
]
OutputName = Annotated[str, AfterValidator(_known_output), Field(json_schema_extra={"enum": list(OUTPUTS)})]


class Foreign(BaseModel):
    """Data from outside: snake_case or camelCase keys, unknown keys ignored, never coerced loosely."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel),
        populate_by_name=True,
        frozen=True,
        extra="ignore",
    )


class LoudnessOptions(Foreign):
    """`track` brings the track to the target by gain alone, as far as the ceiling allows.

    `album` does so for all tracks of the job's `album_id` that say it, as one programme with one gain: they
    stay as far apart as they are. The gain changes when the album does.
    `limit` reaches the target all the same: a limiter takes the peaks down that would pass the ceiling.
    `off` leaves the track as it is.
    """

    mode: Literal["track", "album", "limit", "off"] = "track"
    target_lufs: float = Field(-14.0, ge=-70, le=0)
    ceiling_dbtp: float = Field(-1.0, ge=-20, le=0)


class EqualizerBand(Foreign):
    """A second-order filter of the Audio EQ Cookbook; only `peaking` and the shelves have a gain."""

    type: equalizer.BandType
    frequency_hz: float = Field(ge=equalizer.FREQUENCY_HZ[0], le=equalizer.FREQUENCY_HZ[1])
    gain_db: float = Field(0.0, ge=equalizer.GAIN_DB[0], le=equalizer.GAIN_DB[1])
    q: float = Field(equalizer.BUTTERWORTH_Q, ge=equalizer.Q[0], le=equalizer.Q[1])

    @model_validator(mode="after")
    def _is_one_of_the_pipeline(self) -> Self:
        self.band()
        return self

    def band(self) -> equalizer.Band:
        """This band as the pipeline has it."""
        return equalizer.Band(**self.model_dump())


class EqualizerOptions(Foreign):
    """A named preset, or bands that the sound goes through in their order."""

    preset: PresetName | None = None
    bands: tuple[EqualizerBand, ...] | None = Field(None, max_length=equalizer.MAX_BANDS)

    @model_validator(mode="after")
    def _is_either(self) -> Self:
        if (self.preset is None) == (self.bands is None):
            raise ValueError("either a preset or bands")
        return self


class Options(Foreign):
    """What to make of the source: the renditions of `ladder`, else those that `profile` stands for.

    `outputs` are whole files, made after the ladder.

    `segment_format` says which of the playlists of AAC is offered first; nothing else is made for it.
    """

    profile: str = Field(DEFAULT, pattern=NAME_PATTERN)
    ladder: tuple[RenditionName, ...] | None = Field(None, min_length=1, max_length=16)
    outputs: tuple[OutputName, ...] = Field(DEFAULT_OUTPUTS, max_length=16)
    loudness: LoudnessOptions = LoudnessOptions()
    eq: EqualizerOptions | None = None
    segment_format: Literal["fmp4", "ts"] = "fmp4"

    @model_validator(mode="after")
    def _has_what_ts_carries(self) -> Self:
        if self.ladder is not None and not self._is_carried(self.ladder):
            raise ValueError("segment_format ts carries AAC, of which the ladder names no rendition")
        return self

    def _is_carried(self, ladder: tuple[str, ...]) -> bool:
        return self.segment_format != "ts" or any(RUNGS[name].codec is Codec.AAC for name in ladder)

    def rungs(self, profiles: Profiles) -> tuple[str, ...]:
        """The names of the renditions to make.

        Raises:
            Unsupported: `unknown_profile`, or `profile_without_aac` where the segments shall be MPEG-TS.
        """
        if self.ladder is not None:
            return self.ladder
        if self.profile not in profiles:
            raise Unsupported("unknown_profile", f"profile must be one of {', '.join(sorted(profiles))}")
        ladder = profiles[self.profile]
        if not self._is_carried(ladder):
            raise Unsupported(
                "profile_without_aac", f"segment_format ts carries AAC, {self.profile} has none"
            )
        return ladder

    def spelt_out(self, profiles: Profiles) -> Options:
        """The same wish with its ladder named: what a profile stands for may change from day to day.

        Raises:
            Unsupported: as `rungs`.
        """
        return self.model_copy(update={"ladder": self.rungs(profiles), "profile": DEFAULT})

    @property
    def equalizer_bands(self) -> tuple[equalizer.Band, ...]:
        """The bands that `eq` asks for; none without it."""
        if self.eq is None:
            return ()
        if self.eq.preset is not None:
            return equalizer.PRESETS[self.eq.preset]
        return tuple(band.band() for band in self.eq.bands or ())
