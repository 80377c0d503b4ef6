"""A source is one regular file below the folder that is allowed, copied before it is read."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from media_server.errors import BadRequest, Denied, LimitExceeded, NotFound, Unavailable
from media_server.jobs.fetch import LOCAL_NAME, fetch
from media_server.jobs.job import JobRequest, now_rfc3339
from media_server.jobs.submission import Submission

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


def of_path(path: str) -> Submission:
    request = JobRequest.model_validate({"track_id": TRACK, "source": {"path": path}})
    return Submission(request=request, accepted_at=now_rfc3339())


async def test_an_upload_is_linked_under_our_own_name_and_keeps_its_hash(embedded, tmp_path: Path) -> None:
    submission = embedded.upload(b"bytes")
    got = await fetch(submission, tmp_path / "a", embedded.storage, embedded.settings)
    assert (got.path.name, got.path.read_bytes()) == (LOCAL_NAME, b"bytes")
    assert got.sha256 == hashlib.sha256(b"bytes").hexdigest()
    assert list((tmp_path / "a").iterdir()) == [got.path]


async def test_a_path_is_copied_and_what_was_copied_is_hashed(embedded, tmp_path: Path) -> None:
    """Bad input 55: the hash is of the bytes that are processed, whoever replaces the file meanwhile."""
    original = embedded.settings.upload_dir / "song.flac"
    original.write_bytes(b"first")
    got = await fetch(of_path("song.flac"), tmp_path / "a", embedded.storage, embedded.settings)
    original.write_bytes(b"second")
    assert got.path.read_bytes() == b"first"
    assert (got.sha256, got.size_bytes) == (hashlib.sha256(b"first").hexdigest(), 5)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".", ""])
async def test_a_path_out_of_the_folder_is_refused(embedded, tmp_path: Path, path: str) -> None:
    with pytest.raises((Denied, BadRequest)) as caught:
        await fetch(of_path(path), tmp_path / "a", embedded.storage, embedded.settings)
    assert caught.value.code in {"source_forbidden", "bad_job"}


async def test_a_link_that_leads_out_is_refused(embedded, tmp_path: Path) -> None:
    """Bad input 54."""
    (embedded.settings.upload_dir / "link").symlink_to("/etc/passwd")
    with pytest.raises(Denied):
        await fetch(of_path("link"), tmp_path / "a", embedded.storage, embedded.settings)


async def test_a_pipe_or_a_folder_is_no_source_and_nobody_waits_for_it(embedded, tmp_path: Path) -> None:
    """Bad input 54: never blocks."""
    os.mkfifo(embedded.settings.upload_dir / "pipe")
    (embedded.settings.upload_dir / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(BadRequest):
            await fetch(of_path(name), tmp_path / "a", embedded.storage, embedded.settings)


async def test_a_missing_file_is_not_found(embedded, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await fetch(of_path("gone.flac"), tmp_path / "a", embedded.storage, embedded.settings)


async def test_a_file_over_the_limit_is_refused_before_it_is_copied(embedded, tmp_path: Path) -> None:
    """Bad input 49."""
    (embedded.settings.upload_dir / "big").write_bytes(b"x" * 11)
    settings = embedded.settings.model_copy(update={"max_source_bytes": 10})
    with pytest.raises(LimitExceeded) as caught:
        await fetch(of_path("big"), tmp_path / "a", embedded.storage, settings)
    assert (caught.value.code, caught.value.limits) == ("too_large", {"MAX_SOURCE_BYTES": 10.0})
    assert not (tmp_path / "a").exists()


async def test_a_path_that_leads_nowhere_is_a_bad_job_and_not_our_bug(embedded, tmp_path: Path) -> None:
    (embedded.settings.upload_dir / "circle").symlink_to("circle")
    for name in ("circle", "a\0b"):
        with pytest.raises(BadRequest) as caught:
            await fetch(of_path(name), tmp_path / "a", embedded.storage, embedded.settings)
        assert caught.value.code == "bad_job"


async def test_a_name_that_no_file_can_have_is_refused(embedded, tmp_path: Path) -> None:
    with pytest.raises(Denied):
        await fetch(of_path("x" * 4096), tmp_path / "a", embedded.storage, embedded.settings)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full: a full disk is hard to come by")
async def test_a_full_disk_is_no_fault_of_the_source(embedded, tmp_path: Path) -> None:
    """F16: retried, not failed."""
    (embedded.settings.upload_dir / "song.flac").write_bytes(b"bytes")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / LOCAL_NAME).symlink_to("/dev/full")
    with pytest.raises(Unavailable) as caught:
        await fetch(of_path("song.flac"), tmp_path / "a", embedded.storage, embedded.settings)
    assert caught.value.code == "disk"


async def test_a_folder_that_cannot_be_made_is_no_fault_of_the_source(embedded, tmp_path: Path) -> None:
    (embedded.settings.upload_dir / "song.flac").write_bytes(b"bytes")
    (tmp_path / "file").touch()
    for submission in (of_path("song.flac"), embedded.upload(b"bytes")):
        with pytest.raises(Unavailable) as caught:
            await fetch(submission, tmp_path / "file" / "a", embedded.storage, embedded.settings)
        assert caught.value.code == "disk"


async def test_an_upload_is_linked_again_by_the_next_attempt_until_it_is_gone(
    embedded, tmp_path: Path
) -> None:
    submission = embedded.upload(b"bytes")
    for _ in range(2):
        got = await fetch(submission, tmp_path / "a", embedded.storage, embedded.settings)
        assert got.path.read_bytes() == b"bytes"
    (embedded.folders.storage / "uploads" / submission.upload.name).unlink()
    with pytest.raises(NotFound):
        await fetch(submission, tmp_path / "b", embedded.storage, embedded.settings)


@pytest.mark.parametrize(
    ("source", "setting"),
    [({"bucket": "b", "key": "k"}, "SOURCE_BUCKETS"), ({"url": "https://x.test/a"}, "SOURCE_URL_HOSTS")],
)
async def test_a_place_that_no_list_allows_is_refused_with_the_list_named(
    embedded, tmp_path: Path, source: dict[str, str], setting: str
) -> None:
    """contract: empty = refused."""
    request = JobRequest.model_validate({"track_id": TRACK, "source": source})
    submission = Submission(request=request, accepted_at=now_rfc3339())
    with pytest.raises(Denied, match=setting):
        await fetch(submission, tmp_path / "a", embedded.storage, embedded.settings)


def of_object(bucket: str, key: str) -> Submission:
    request = JobRequest.model_validate({"track_id": TRACK, "source": {"bucket": bucket, "key": key}})
    return Submission(request=request, accepted_at=now_rfc3339())


async def test_an_object_is_brought_under_our_own_name_and_hashed(embedded, buckets, tmp_path: Path) -> None:
    """I2: from S3. The key is data, never a path."""
    key = "/2026/.../no path/song.flac"
    buckets.server.put(buckets.originals, key, b"bytes")
    submission = of_object(buckets.originals, key)
    for _ in range(2):  # the next attempt in the same folder brings it anew
        got = await fetch(
            submission, tmp_path / "a", embedded.storage, embedded.settings, sources=buckets.sources
        )
        assert (got.path, got.path.read_bytes()) == (tmp_path / "a" / LOCAL_NAME, b"bytes")
        assert (got.sha256, got.size_bytes) == (hashlib.sha256(b"bytes").hexdigest(), 5)
    assert list((tmp_path / "a").iterdir()) == [got.path]


async def test_an_object_over_the_limit_is_refused_as_a_file_is(embedded, buckets, tmp_path: Path) -> None:
    """Bad input 49."""
    buckets.server.put(buckets.originals, "big", b"x" * 11)
    settings = embedded.settings.model_copy(update={"max_source_bytes": 10})
    with pytest.raises(LimitExceeded) as caught:
        await fetch(
            of_object(buckets.originals, "big"), tmp_path / "a", embedded.storage, settings, buckets.sources
        )
    assert (caught.value.code, caught.value.limits) == ("too_large", {"MAX_SOURCE_BYTES": 10.0})
    assert list((tmp_path / "a").iterdir()) == []


async def test_an_object_is_missing_or_in_a_bucket_that_is_not_named(
    embedded, buckets, tmp_path: Path
) -> None:
    for bucket, error, code in [
        (buckets.originals, NotFound, "source_not_found"),
        (buckets.tracks, Denied, "source_forbidden"),
    ]:
        with pytest.raises(error) as caught:
            await fetch(
                of_object(bucket, "gone"),
                tmp_path / "a",
                embedded.storage,
                embedded.settings,
                sources=buckets.sources,
            )
        assert caught.value.code == code


async def test_an_object_that_cannot_be_written_here_is_no_fault_of_it(
    embedded, buckets, tmp_path: Path
) -> None:
    """F16."""
    buckets.server.put(buckets.originals, "song", b"bytes")
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable) as caught:
        await fetch(
            of_object(buckets.originals, "song"),
            tmp_path / "file" / "a",
            embedded.storage,
            embedded.settings,
            sources=buckets.sources,
        )
    assert caught.value.code == "disk"


async def test_without_an_upload_folder_no_path_is_a_source(embedded, tmp_path: Path) -> None:
    settings = embedded.settings.model_copy(update={"upload_dir": None})
    with pytest.raises(Denied, match="UPLOAD_DIR"):
        await fetch(of_path("song.flac"), tmp_path / "a", embedded.storage, settings)
