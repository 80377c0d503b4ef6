"""`media-server transcode IN OUT/`: the whole pipeline without a server."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hls.asset import Asset, AssetDownload
from media_server.broker.envelope import why
from media_server.cli.terminal import err, out, stop
from media_server.errors import MediaError, Unavailable
from media_server.jobs import runner
from media_server.jobs.assembly import Assembly, Identity
from media_server.jobs.child import Order
from media_server.jobs.downloads import Downloads, download_of
from media_server.jobs.events import FileMade, LadderMade, PieceMade
from media_server.jobs.events import Progress as Told
from media_server.jobs.job import JobRequest, Source, Stage, now_rfc3339
from media_server.jobs.options import EqualizerOptions, LoudnessOptions, Options
from media_server.jobs.watched import STAGE_SHARE
from media_server.profiles import BUILT_IN, DEFAULT, load_profiles
from pipeline.equalizer import PRESETS
from pipeline.errors import Unsupported
from pipeline.ladder import RUNGS
from pipeline.normalize import Mode
from pipeline.outputs import OUTPUTS, Format

MAX_DURATION_S = 86_400.0
MEMORY_BYTES = 2 << 30
MAX_FILE_BYTES = 1 << 37
"""More than so much sound takes, lossless, at 192 kHz and 24 bit."""


def transcode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="An audio file.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A folder; made if it is not there.")],
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"A ladder by name: {', '.join(BUILT_IN)}, or yours.")
    ] = None,
    ladder: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help=f"Or its renditions, comma-separated, of {', '.join(RUNGS)}."),
    ] = None,
    outputs: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Whole files too, such as mp3-320, ogg-192-44100, flac (a wrong one lists all).",
        ),
    ] = "",
    target_lufs: Annotated[
        float, typer.Option(metavar="LUFS", min=-70, max=0, help="Integrated loudness to reach.")
    ] = -14.0,
    ceiling_dbtp: Annotated[
        float, typer.Option(metavar="DBTP", min=-20, max=0, help="True peak not to pass.")
    ] = -1.0,
    normalize: Annotated[bool, typer.Option(help="Bring the track to the target by gain.")] = True,
    limit: Annotated[
        bool, typer.Option("--limit", help="Limit peaks where gain alone would pass the ceiling.")
    ] = False,
    eq: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"A preset of the equalizer: {', '.join(PRESETS)}.")
    ] = None,
    config_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", envvar="CONFIG_DIR", help="Where your profiles.toml lies."),
    ] = None,
) -> None:
    """Make multi-bitrate HLS of IN in OUT: its masters, playlists, segments and waveform, and whole files.

    The same pipeline as a job's, in the same caged process; OUT can be put behind any web server. A
    whole file is called as IN is, with its bit rate: song-320.mp3, song-192-44100.ogg, song.flac.
    """
    if eq is not None and eq not in PRESETS:
        stop(f"--eq names {eq}, known are {', '.join(PRESETS)}")
    if limit and not normalize:
        stop("--limit is a way to normalize, --no-normalize forbids it")
    mode: Mode = "off" if not normalize else "limit" if limit else "track"
    wanted = {
        **_renditions(ladder, profile),
        "outputs": _outputs(outputs, source, target),
        "loudness": LoudnessOptions(mode=mode, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp),
        "eq": EqualizerOptions(preset=eq) if eq else None,
    }
    try:
        options = Options.model_validate(wanted).spelt_out(load_profiles(config_dir))
    except ValidationError as error:
        stop(why(error))
    except Unsupported as error:
        stop(f"{error.message} ({error.code})")
    except ValueError as error:
        stop(str(error))
    runner.prepare()
    began = time.monotonic()
    try:
        asset, made = asyncio.run(_transcode(_assembly(source, options), source, options, target))
    except (MediaError, Unavailable) as error:
        stop(f"{error.message} ({error.code})", code=1)
    except runner.DecoderCrash as error:
        stop(f"{error.message} ({error.code})", code=1)
    except OSError as error:
        stop(f"{target}: {error.strerror}", code=1)
    out.print(summary(asset, time.monotonic() - began, made.values()))
    out.print()
    for path in (*(target / family.master for family in asset.families), *made):
        out.print(path, markup=False, soft_wrap=True)


def _renditions(ladder: str | None, profile: str | None) -> dict[str, object]:
    """What a job is asked for in their place."""
    if ladder is not None and profile is not None:
        stop("--ladder and --profile both name the renditions, one of them is enough")
    if ladder is None:
        return {"profile": profile or DEFAULT}
    names = _known("--ladder", ladder, RUNGS)
    if not names:
        stop(f"--ladder names nothing, known are {', '.join(RUNGS)}")
    return {"ladder": names}


def _outputs(outputs: str, source: Path, target: Path) -> tuple[str, ...]:
    names = _known("--outputs", outputs, OUTPUTS)
    if source.resolve() in [_path(source, target, name, OUTPUTS[name].format).resolve() for name in names]:
        stop(f"--outputs would write over {source}, OUT must be another folder")
    return names


def _known(option: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in known]:
        stop(f"{option} names {', '.join(unknown)}, known are {', '.join(known)}")
    return names


def _assembly(source: Path, options: Options) -> Assembly:
    request = JobRequest(track_id=str(uuid.uuid4()), source=Source(path=source.name), options=options)
    with source.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    now = now_rfc3339()
    identity = Identity(
        job_id=str(uuid.uuid4()),
        created_at=now,
        order=now,
        source_sha256=sha256,
        source_bytes=source.stat().st_size,
    )
    return Assembly(request, identity)


def _order(source: Path, options: Options) -> Order:
    return Order(
        source=source.resolve(),
        ladder=options.ladder or (),
        mode=options.loudness.mode,
        target_lufs=options.loudness.target_lufs,
        ceiling_dbtp=options.loudness.ceiling_dbtp,
        max_duration_s=MAX_DURATION_S,
        memory_bytes=MEMORY_BYTES,
        equalizer=options.equalizer_bands,
        outputs=options.outputs,
    )


async def _transcode(
    assembly: Assembly, source: Path, options: Options, target: Path
) -> tuple[Asset, dict[Path, AssetDownload]]:
    """The presentation, and the whole files by their paths."""
    columns = (TextColumn("{task.description:8}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    quiet = not err.is_terminal  # a bar in a log file is noise
    made: dict[Path, AssetDownload] = {}
    downloads: Downloads | None = None
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task("analyze", total=100.0)
        async with runner.run(_order(source, options)) as events:
            async for event, payload in events:
                for file in assembly.take(event, payload):
                    _write(target / assembly.version / file.path, file.data)
                match event:
                    case Told():
                        low, high = STAGE_SHARE[Stage(event.stage)]
                        completed = low + (high - low) * event.fraction
                        bar.update(task, description=event.stage, completed=completed)
                    case LadderMade():
                        _present(assembly.asset, assembly.dropped, target)
                        downloads = Downloads(target / assembly.version, MAX_FILE_BYTES)
                    case PieceMade() if downloads:
                        downloads.write(event, payload)
                    case FileMade() if downloads:
                        whole = downloads.finish(event)
                        path = _path(source, target, event.output, event.format)
                        made[whole.path.replace(path)] = download_of(event, whole)
    return assembly.asset, made


def _present(asset: Asset, dropped: tuple[str, ...], target: Path) -> None:
    """Write what players begin with, and remove the versions that were taken back: the ladder is whole."""
    for version in dropped:
        shutil.rmtree(target / version)
    for rendition in asset.renditions:
        playlist = asset.media_playlist(rendition.name).render()
        _write(target / f"stream_{rendition.name}.m3u8", playlist.encode())
    _write(target / "asset.json", asset.to_json())
    for family in asset.families:
        _write(target / family.master, asset.multivariant(family=family).render().encode())


def _path(source: Path, target: Path, output: str, fmt: Format) -> Path:
    """song-320.mp3, song-192-44100.ogg, song.flac"""
    return target / f"{source.stem}{output.removeprefix(fmt)}.{fmt}"


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def summary(asset: Asset, took_s: float, made: Iterable[AssetDownload] = ()) -> Table:
    """What was measured, what was made, its whole files last, and how long it took."""
    loudness = asset.loudness
    table = Table(box=None, show_header=False, pad_edge=False)
    if loudness.integrated_lufs is None or loudness.true_peak_dbtp is None:
        table.add_row("loudness", "silence")
    else:
        before, peak = loudness.integrated_lufs, loudness.true_peak_dbtp
        after = before + loudness.gain_db if loudness.planned_lufs is None else loudness.planned_lufs
        held = peak + loudness.gain_db if loudness.limit_dbtp is None else loudness.limit_dbtp
        limited = "" if loudness.limit_dbtp is None else ", limited"
        table.add_row("loudness", f"{before:.1f} -> {after:.1f} LUFS ({loudness.gain_db:+.2f} dB{limited})")
        table.add_row("true peak", f"{peak:.1f} -> {min(held, peak + loudness.gain_db):.1f} dBTP")
        table.add_row("range", "-" if loudness.range_lu is None else f"{loudness.range_lu:.1f} LU")
    for rendition in asset.renditions:
        size = rendition.init.bytes + sum(segment.bytes for segment in rendition.segments)
        about = (
            f"{rendition.codec}, {rendition.bitrate_bps // 1000} kbit/s, {len(rendition.segments)} segments"
        )
        table.add_row(rendition.name, f"{about}, {size / 1e6:.2f} MB")
    for one in made:
        kbit = "lossless" if one.bitrate_bps is None else f"{one.bitrate_bps // 1000} kbit/s"
        table.add_row(one.name, f"{one.format}, {kbit}, {one.rate_hz} Hz, {one.file.bytes / 1e6:.2f} MB")
    table.add_row("length", f"{asset.duration_s:.3f} s")
    table.add_row("time", f"{took_s:.2f} s ({asset.duration_s / took_s:.0f} x real time)")
    if asset.warnings:
        table.add_row("warnings", ", ".join(asset.warnings))
    return table
