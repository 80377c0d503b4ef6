"""`sign` prints what the server opens."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from media_server.auth.signing import UrlSigner, keys_of
from media_server.cli import app
from media_server.cli.sign import LONGEST_S, signed_url
from media_server.settings import Settings

SECRET = "correct-horse-battery-staple-0123456789"
TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
SEGMENT = f"/hls/{TRACK}/5d41402abc4b2a76/128k/17-9c1185a5.m4s"
NOW = 1_795_582_800
SETTINGS = Settings(jwt_secret=SECRET, public_base_url="https://media.example", _env_file=None)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("JWT_SECRET", "URL_SIGNING_KEYS", "PUBLIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (TRACK, f"/hls/{TRACK}/master.m3u8"),
        (SEGMENT, SEGMENT),
        (f"/tracks/{TRACK}/waveform.json", f"/tracks/{TRACK}/waveform.json"),
        (f"/hls/{TRACK}/stream_%3128k.m3u8", f"/hls/{TRACK}/stream_%3128k.m3u8"),
    ],
)
def test_a_signed_url_opens_its_path(target: str, path: str) -> None:
    """Contract, signed URLs; a track id stands for its master playlist."""
    url = urlsplit(signed_url(SETTINGS, target, now=NOW, lifetime_s=60))
    assert (f"{url.scheme}://{url.netloc}", url.path) == ("https://media.example", path)
    UrlSigner(keys_of(SETTINGS)).verify(url.path, url.query, NOW + 60)


def test_one_for_a_segment_opens_its_rendition() -> None:
    query = urlsplit(signed_url(SETTINGS, SEGMENT, now=NOW, lifetime_s=60)).query
    UrlSigner(keys_of(SETTINGS)).verify(SEGMENT.replace("17-", "18-"), query, NOW)


@pytest.mark.parametrize("now", [NOW, NOW + 1, NOW + 3599])
def test_it_lasts_as_long_as_was_asked(now: int) -> None:
    """`expires` is rounded up to the hour and is at most 24 h ahead."""
    url = urlsplit(signed_url(SETTINGS, TRACK, now=now, lifetime_s=LONGEST_S))
    UrlSigner(keys_of(SETTINGS)).verify(url.path, url.query, now + LONGEST_S)
    UrlSigner(keys_of(SETTINGS)).verify(url.path, url.query, now)


@pytest.mark.parametrize(
    ("target", "lifetime_s", "problem"),
    [
        (TRACK, 0, "lifetime is 0 s, 1 to 82800 s are allowed"),
        (TRACK, LONGEST_S + 1, "lifetime is 82801 s, 1 to 82800 s are allowed"),
        ("nonsense", 60, "only a track id, or a path"),
        (TRACK.upper(), 60, "only a track id, or a path"),
        ("", 60, "only a track id, or a path"),
        ("/stream", 60, "only a track id, or a path"),
        (f"/whep/{TRACK}", 60, "only a track id, or a path"),
        ("/api/v1/internal/jobs", 60, "only a track id, or a path"),
        (f"https://media.example/hls/{TRACK}/master.m3u8", 60, "only a track id, or a path"),
        (f"/hls/{TRACK}/master.m3u8?token=x", 60, "only a track id, or a path"),
        (f"/hls/{TRACK}/\u00fc", 60, "only a track id, or a path"),
        (f"/hls/{TRACK}/../{TRACK}/master.m3u8", 60, "empty, relative or unprintable part"),
        (f"/hls/{TRACK}/", 60, "empty, relative or unprintable part"),
        (f"/hls/{TRACK}/%ff", 60, "not UTF-8"),
    ],
)
def test_what_would_not_open_is_not_signed(target: str, lifetime_s: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        signed_url(SETTINGS, target, now=NOW, lifetime_s=lifetime_s)


def test_the_command_prints_the_url_and_nothing_else() -> None:
    environment = {"JWT_SECRET": SECRET, "PUBLIC_BASE_URL": "https://media.example", "COLUMNS": "40"}
    result = CliRunner().invoke(app, ["sign", TRACK, "--lifetime", "7200"], env=environment)
    assert result.exit_code == 0
    [line] = result.stdout.splitlines()
    assert line.startswith(f"https://media.example/hls/{TRACK}/master.m3u8?expires=")


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([TRACK], {}, "URL_SIGNING_KEYS and JWT_SECRET are not set"),
        (["/stream"], {"JWT_SECRET": SECRET}, "only a track id, or a path"),
        ([TRACK, "--lifetime", "999999"], {"JWT_SECRET": SECRET}, "lifetime is 999999 s"),
        ([TRACK], {"URL_SIGNING_KEYS": "k:short"}, "URL_SIGNING_KEYS: secret 1 has 5 characters"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments: list[str], environment: dict[str, str], said: str) -> None:
    result = CliRunner().invoke(app, ["sign", *arguments], env=environment | {"COLUMNS": "200"})
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert line.startswith("error: ")
    assert said in line
