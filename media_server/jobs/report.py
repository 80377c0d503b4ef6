"""What the outside is told of a finished job: the callback's fields, which are also the job's `result`."""

from __future__ import annotations

from typing import Any

from hls.asset import Asset, AssetDownload, AssetRendition
from media_server.jobs.job import JobError
from pipeline.grid import RATE_HZ


def completed(asset: Asset, base_url: str) -> dict[str, Any]:
    """The fields of a completed job's callback, but those that only its sending knows.

    Args:
        base_url: where listeners reach this server, without a slash at its end.
    """
    loudness = asset.loudness
    return {
        "job_id": asset.job_id,
        "track_id": asset.track_id,
        "status": "completed",
        "stream_manifest_url": f"{base_url}{manifest_path(asset)}",
        "duration_seconds": round(asset.duration_s, 3),
        "loudness": {
            "integrated_lufs": _rounded(loudness.integrated_lufs),
            "true_peak_dbtp": _rounded(loudness.true_peak_dbtp),
            "range_lu": _rounded(loudness.range_lu),
            "gain_db": round(loudness.gain_db, 2),
            "target_lufs": loudness.target_lufs,
        },
        "renditions": [
            {
                "name": rendition.name,
                "codec": codec_name(rendition),
                "bitrate": rendition.bitrate_bps,
                "sample_rate": rendition.rate_hz,
                "channels": rendition.channels,
            }
            for rendition in asset.renditions
        ],
        "downloads": [
            {
                "format": download.format,
                "bitrate": download.bitrate_bps,
                "url": f"{base_url}{download_path(asset.track_id, download)}",
            }
            for download in asset.downloads
        ],
        "waveform_url": f"{base_url}/tracks/{asset.track_id}/waveform.json",
        "warnings": list(asset.warnings),
        "error": None,
    }


def manifest_path(asset: Asset) -> str:
    """Of the playlist to play where nobody asks for another."""
    return f"/hls/{asset.track_id}/{asset.master}"


def download_path(track_id: str, download: AssetDownload) -> str:
    """Where a whole file is fetched; FLAC has one bit rate and one rate, Opus one rate."""
    words = []
    if download.bitrate_bps is not None:
        words.append(f"bitrate={download.bitrate_bps // 1000}")
        if download.rate_hz != RATE_HZ:
            words.append(f"rate={download.rate_hz}")
    query = f"?{'&'.join(words)}" if words else ""
    return f"/tracks/{track_id}/audio.{download.format}{query}"


def codec_name(rendition: AssetRendition) -> str:
    """What a client may put into `audio/mp4; codecs="…"`: MSE and WebCodecs spell Opus in lower case."""
    return rendition.codec.lower()


def failed(job_id: str, track_id: str, error: JobError) -> dict[str, Any]:
    """The fields of a failed job's callback, but those that only its sending knows."""
    return {
        "job_id": job_id,
        "track_id": track_id,
        "status": "failed",
        "stream_manifest_url": None,
        "duration_seconds": None,
        "loudness": None,
        "renditions": [],
        "downloads": [],
        "waveform_url": None,
        "warnings": [],
        **failure(job_id, track_id, error),
    }


def failure(job_id: str, track_id: str, error: JobError) -> dict[str, Any]:
    """The `data` of `transcoding.failed`."""
    told = {
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
        "limits": dict(error.limits),
    }
    return {"job_id": job_id, "track_id": track_id, "error": told}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
