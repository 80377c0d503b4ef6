"""Settings are checked before anything starts; each refusal is one sentence that names the setting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from media_server.settings import (
    NOT_SUPPORTED,
    AppEnv,
    Settings,
    env_files,
    forget_secrets,
    ignored_settings,
    load_settings,
    secret_names,
)

SECRET = "correct-horse-battery-staple-0123456789"
PRODUCTION = {
    "app_env": "production",
    "jwt_secret": SECRET,
    "internal_api_key": SECRET,
    "public_base_url": "https://media.example",
    "cors_allowed_origins": "https://app.example",
}


def made(**values: object) -> Settings:
    return Settings(_env_file=None, **values)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*map(str.upper, Settings.model_fields), *NOT_SUPPORTED):
        monkeypatch.delenv(name, raising=False)


def test_the_default_is_embedded_open_development() -> None:
    settings = made()
    assert (settings.app_env, settings.port, settings.host) == (AppEnv.DEVELOPMENT, 8082, "127.0.0.1")
    assert settings.playback_is_open
    assert settings.page_is_served
    assert settings.allowed_origins == ("*",)


@pytest.mark.parametrize(
    "missing", ["jwt_secret", "internal_api_key", "public_base_url", "cors_allowed_origins"]
)
def test_production_refuses_to_start_without_what_it_needs(missing: str) -> None:
    """contract: with one sentence saying why."""
    with pytest.raises(ValidationError, match=missing.upper()):
        made(**{name: value for name, value in PRODUCTION.items() if name != missing})


@pytest.mark.parametrize("name", ["jwt_public_key", "jwt_jwks_url"])
def test_a_public_key_is_as_good_as_a_secret(name: str) -> None:
    """contract, tokens: playback is open in development with none of them, and production needs one."""
    assert not made(**{name: "x"}).playback_is_open
    closed = {key: value for key, value in PRODUCTION.items() if key != "jwt_secret"}
    assert made(**closed, **{name: "x"}).verifies_tokens


@pytest.mark.parametrize("name", ["a b", "a;b", "a=b", "a\n", "\u00fc", '"a"'])
def test_a_cookie_that_no_browser_could_send_is_refused(name: str) -> None:
    """RFC 6265 4.1.1: a cookie's name is a token."""
    assert made(jwt_cookie_name="__Host-access_token").jwt_cookie_name == "__Host-access_token"
    with pytest.raises(ValidationError, match="jwt_cookie_name"):
        made(jwt_cookie_name=name)


@pytest.mark.parametrize("bucket", [{"s3_bucket": "tracks"}, {"source_buckets": "originals"}])
def test_a_bucket_needs_the_key_to_it(bucket: dict[str, str]) -> None:
    """A machine that has other keys lying about must not be asked for them."""
    made(**bucket, s3_access_key="AK", s3_secret_key="SK")
    name = next(iter(bucket)).upper()
    with pytest.raises(ValidationError, match=f"{name} needs S3_ACCESS_KEY and S3_SECRET_KEY too"):
        made(**bucket)
    with pytest.raises(ValidationError, match=f"{name} needs S3_SECRET_KEY too"):
        made(**bucket, s3_access_key="AK")


@pytest.mark.parametrize("secret", ["short", "x" * 31, "changeme"])
@pytest.mark.parametrize("name", ["jwt_secret", "jwt_secret_previous", "internal_api_key"])
def test_a_short_or_common_secret_is_refused_everywhere_and_not_shown(name: str, secret: str) -> None:
    with pytest.raises(ValidationError) as caught:
        made(**{name: secret})
    message = "; ".join(error["msg"] for error in caught.value.errors(include_input=False))
    assert name.upper() in message
    assert secret not in message


def test_production_is_closed_and_listens_to_named_origins_only() -> None:
    settings = made(**PRODUCTION)
    assert not settings.playback_is_open
    assert not settings.page_is_served
    assert settings.allowed_origins == ("https://app.example",)
    assert settings.logs_as_json
    with pytest.raises(ValidationError, match="CORS_ALLOWED_ORIGINS"):
        made(**{**PRODUCTION, "cors_allowed_origins": "*"})


def test_lists_are_split_at_commas_and_networks_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7")
    assert made().trusted_proxies == ("10.0.0.0/8", "192.0.2.7")
    with pytest.raises(ValidationError):
        made(trusted_proxies="not-a-network")


def test_base_addresses_end_without_a_slash() -> None:
    """Paths are put behind them."""
    settings = made(public_base_url="https://media.example/", backend_api_url="http://api.example//")
    assert settings.public_base_url == "https://media.example"
    assert settings.backend_api_url == "http://api.example"


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    assert SECRET not in repr(made(**PRODUCTION))
    assert SECRET not in str(made(**PRODUCTION).model_dump())


def test_secrets_leave_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """architecture.md: before the forkserver starts, so that no child inherits them."""
    for name in ("JWT_SECRET", "INTERNAL_API_KEY", "RABBITMQ_URL"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("PORT", "9000")
    forget_secrets()
    assert SECRET not in os.environ.values()
    assert os.environ["PORT"] == "9000"
    assert {"JWT_SECRET", "INTERNAL_API_KEY", "URL_SIGNING_KEYS"} <= secret_names()


def test_what_this_version_does_nothing_with_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDN_PURGE_URL", "https://cdn.example.org")
    assert ignored_settings() == ("CDN_PURGE_URL",)
    assert not set(NOT_SUPPORTED) & {name.upper() for name in Settings.model_fields}


def test_env_files_are_read_in_development_only_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=1001\nLOG_LEVEL=ERROR\n")
    (tmp_path / ".env.development").write_text("PORT=1002\n")
    settings = load_settings(tmp_path)
    assert (settings.port, settings.log_level) == (1002, "ERROR")
    monkeypatch.setenv("PORT", "1003")
    assert load_settings(tmp_path).port == 1003
    assert env_files("production", tmp_path) == ()
