"""`media-server transcode IN OUT/`: the whole pipeline without a server."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hls.asset import Asset
from media_server.cli.terminal import err, out, stop
from media_server.errors import MediaError, Unavailable
from media_server.jobs import runner
from media_server.jobs.assembly import Assembly, Identity
from media_server.jobs.child import Order
from media_server.jobs.events import Progress as Told
from media_server.jobs.job import JobRequest, Source, now_rfc3339
from media_server.jobs.options import EqualizerOptions, LoudnessOptions, Options
from media_server.profiles import BUILT_IN
from pipeline.equalizer import PRESETS
from pipeline.ladder import DEFAULT_LADDER, RUNGS
from pipeline.normalize import Mode

MAX_DURATION_S = 86_400.0
MEMORY_BYTES = 2 << 30
SHARE = {"analyze": (0.0, 30.0), "encode": (30.0, 100.0)}


def transcode(
    source: Annotated[Path, typer.Argument(metavar="IN", help="An audio file.", exists=True, dir_okay=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A folder; made if it is not there.")],
    ladder: Annotated[
        str, typer.Option(help=f"Renditions, comma-separated, of {', '.join(RUNGS)}.")
    ] = ",".join(DEFAULT_LADDER),
    target_lufs: Annotated[float, typer.Option(min=-70, max=0, help="Integrated loudness to reach.")] = -14.0,
    ceiling_dbtp: Annotated[float, typer.Option(min=-20, max=0, help="True peak not to pass.")] = -1.0,
    normalize: Annotated[bool, typer.Option(help="Bring the track to the target by gain.")] = True,
    eq: Annotated[str | None, typer.Option(help=f"A preset of the equalizer: {', '.join(PRESETS)}.")] = None,
    limit: Annotated[
        bool, typer.Option("--limit", help="Limit peaks where gain alone would pass the ceiling.")
    ] = False,
) -> None:
    """Make multi-bitrate HLS of IN in OUT: its masters, playlists, segments and waveform.

    The same pipeline as a job's, in the same caged process; OUT can be put behind any web server.
    """
    names = tuple(name.strip() for name in ladder.split(",") if name.strip())
    unknown = [name for name in names if name not in RUNGS]
    if unknown or not names:
        stop(f"--ladder names {', '.join(unknown) or 'nothing'}, known are {', '.join(RUNGS)}")
    if eq is not None and eq not in PRESETS:
        stop(f"--eq names {eq}, known are {', '.join(PRESETS)}")
    if limit and not normalize:
        stop("--limit is a way to normalize, --no-normalize forbids it")
    mode: Mode = "off" if not normalize else "limit" if limit else "track"
    loudness = LoudnessOptions(mode=mode, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp)
    equalizer = EqualizerOptions(preset=eq) if eq else None
    options = Options(ladder=names, outputs=(), loudness=loudness, eq=equalizer)
    runner.prepare()
    began = time.monotonic()
    try:
        asset = asyncio.run(_transcode(_assembly(source, options), _order(source, options), target))
    except (MediaError, Unavailable) as error:
        stop(f"{error.message} ({error.code})", code=1)
    except runner.DecoderCrash as error:
        stop(f"{error.message} ({error.code})", code=1)
    except OSError as error:
        stop(f"{target}: {error.strerror}", code=1)
    out.print(summary(asset, time.monotonic() - began))
    out.print()
    for family in asset.families:
        out.print(target / family.master)


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
        ladder=options.rungs(BUILT_IN),
        mode=options.loudness.mode,
        target_lufs=options.loudness.target_lufs,
        ceiling_dbtp=options.loudness.ceiling_dbtp,
        max_duration_s=MAX_DURATION_S,
        memory_bytes=MEMORY_BYTES,
        equalizer=options.equalizer_bands,
    )


async def _transcode(assembly: Assembly, order: Order, target: Path) -> Asset:
    columns = (TextColumn("{task.description:8}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    quiet = not err.is_terminal  # a bar in a log file is noise
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=quiet) as bar:
        task = bar.add_task("analyze", total=100.0)
        async with runner.run(order) as events:
            async for event, payload in events:
                for file in assembly.take(event, payload):
                    _write(target / assembly.version / file.path, file.data)
                if isinstance(event, Told):
                    low, high = SHARE[event.stage]
                    completed = low + (high - low) * event.fraction
                    bar.update(task, description=event.stage, completed=completed)
    for version in assembly.dropped:
        shutil.rmtree(target / version)
    asset = assembly.asset
    for rendition in asset.renditions:
        playlist = asset.media_playlist(rendition.name).render()
        _write(target / f"stream_{rendition.name}.m3u8", playlist.encode())
    _write(target / "asset.json", asset.to_json())
    for family in asset.families:
        _write(target / family.master, asset.multivariant(family=family).render().encode())
    return asset


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def summary(asset: Asset, took_s: float) -> Table:
    """What was measured, what was made and how long it took."""
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
    table.add_row("length", f"{asset.duration_s:.3f} s")
    table.add_row("time", f"{took_s:.2f} s ({asset.duration_s / took_s:.0f} x real time)")
    if asset.warnings:
        table.add_row("warnings", ", ".join(asset.warnings))
    return table
