"""Every setting, read once from the environment and checked before anything starts.

`config/media-server.env` documents each with its default, unit and reason; a test holds the two together.
"""

from __future__ import annotations

import os
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from media_server.profiles import BUILT_IN, Profiles, load_profiles

MIN_SECRET_CHARACTERS = 32
"""RFC 8725 3.5: an HMAC key is at least as long as the hash's output, 32 bytes for SHA-256."""

UNUSABLE_SECRETS = frozenset({"changeme", "secret", "your-secret-key", "development"})


NOT_SUPPORTED = ("SOURCE_URL_HOSTS", "CDN_BASE_URL", "CDN_PURGE_URL", "SENTRY_DSN")
"""Settings of the contract that this version does nothing with; whoever sets one is told so at the start."""


ADDRESSES = {
    "public_base_url": ("http://", "https://"),
    "backend_api_url": ("http://", "https://"),
    "rabbitmq_url": ("amqp://", "amqps://"),
}


class AppEnv(StrEnum):
    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


Listed = Annotated[tuple[str, ...], NoDecode]
"""A comma-separated list in the environment."""


class Settings(BaseSettings):
    """The effective settings. Secrets are SecretStr: their repr is masked."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    app_env: AppEnv = AppEnv.DEVELOPMENT
    host: str = "127.0.0.1"
    port: int = Field(8082, ge=0, le=65535)
    public_base_url: str | None = None
    trusted_proxies: Listed = ()
    cors_allowed_origins: Listed = ()
    web_page: bool | None = None
    config_dir: Path | None = None

    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARN|ERROR)$")
    log_format: str | None = Field(None, pattern="^(json|console)$")

    backend_api_url: str = "http://localhost:8080"
    stream_ready_path: str = "/api/v1/internal/tracks/{track_id}/stream-ready"
    internal_api_key: SecretStr | None = None
    internal_api_key_previous: SecretStr | None = None
    internal_api_key_header: str = "X-Internal-API-Key"
    internal_allowed_ips: Listed = ()

    jwt_secret: SecretStr | None = None
    jwt_secret_previous: SecretStr | None = None
    jwt_public_key: str | None = None
    jwt_jwks_url: str | None = None
    jwt_cookie_name: str = Field("access_token", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    jwt_issuer: str = "veza-api"
    jwt_audience: str = "veza-app"
    jwt_max_lifetime_s: int = Field(86_400, ge=60)
    url_signing_keys: SecretStr | None = None
    public_playback: bool = True

    rabbitmq_url: SecretStr | None = None
    rabbitmq_exchange: str = "veza.events"
    rabbitmq_queue: str = "media-server.transcode"
    rabbitmq_declare: Literal["active", "passive"] = "active"
    redis_url: SecretStr | None = None
    s3_endpoint: str | None = Field(None, pattern=r"^https?://[^/?#]+/?$")
    s3_bucket: str | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_region: str = "us-east-1"
    s3_sse: Literal["AES256", "aws:kms"] | None = None
    s3_kms_key_id: str | None = None
    source_buckets: Listed = ()
    clamav_address: str | None = Field(None, pattern=r"^(/.{1,106}|[^/\s]+:\d{1,5})$")
    clamav_required: bool = False

    webrtc_public_address: str | None = None
    webrtc_udp_ports: str | None = Field(None, pattern=r"^\d{1,5}-\d{1,5}$")
    stun_urls: Listed = ()
    turn_urls: Listed = ()
    turn_secret: SecretStr | None = None

    rate_limit_token_per_minute: int = Field(1000, ge=0)
    rate_limit_guest_per_minute: int = Field(100, ge=0)
    rate_limit_websockets_per_minute: int = Field(10, ge=0)
    rate_limit_address_per_second: int = Field(100, ge=0)
    rate_limit_server_per_second: int = Field(1000, ge=0)
    rate_limit_media_per_second: int = Field(100, ge=0)

    data_dir: Path = Path("data")
    upload_dir: Path | None = None
    max_source_bytes: int = Field(4_294_967_296, ge=1)
    max_duration_s: int = Field(14_400, ge=1)
    max_concurrent_uploads: int = Field(10, ge=1)
    jobs_concurrent: int = Field(1, ge=1, le=64)
    job_memory_bytes: int = Field(2_147_483_648, ge=1_073_741_824)
    segment_cache_bytes: int = Field(268_435_456, ge=0)
    drain_delay_s: float = Field(5.0, ge=0, le=25)
    demo_track: bool = True

    _profiles: Profiles = PrivateAttr(BUILT_IN)

    @field_validator(
        *("trusted_proxies", "cors_allowed_origins", "internal_allowed_ips"),
        *("source_buckets", "stun_urls", "turn_urls"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies", "internal_allowed_ips")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ip_network(network, strict=False)
        return value

    @field_validator("public_base_url", "backend_api_url")
    @classmethod
    def _ends_without_a_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value else value

    @model_validator(mode="after")
    def _fit_for_its_environment(self) -> Self:
        for name in ("internal_api_key", "internal_api_key_previous", "jwt_secret", "jwt_secret_previous"):
            secret: SecretStr | None = getattr(self, name)
            if secret and len(secret.get_secret_value()) < MIN_SECRET_CHARACTERS:
                raise ValueError(
                    f"{name.upper()} has {len(secret.get_secret_value())} characters,"
                    f" at least {MIN_SECRET_CHARACTERS} are needed"
                )
            if secret and secret.get_secret_value().lower().strip("-_ 0123456789") in UNUSABLE_SECRETS:
                raise ValueError(f"{name.upper()} is a default that everybody knows")
        missing = [name.upper() for name in ("s3_access_key", "s3_secret_key") if not getattr(self, name)]
        for name in ("s3_bucket", "source_buckets"):
            if getattr(self, name) and missing:
                raise ValueError(f"{name.upper()} needs {' and '.join(missing)} too")
        for name, schemes in ADDRESSES.items():
            if not _begins_with(getattr(self, name), schemes):
                raise ValueError(f"{name.upper()} must begin with {' or '.join(schemes)} and name a host")
        self._profiles = load_profiles(self.config_dir)
        if "{track_id}" not in self.stream_ready_path:
            raise ValueError("STREAM_READY_PATH must contain {track_id}")
        if self.app_env is not AppEnv.PRODUCTION:
            return self
        if not self.verifies_tokens:
            raise ValueError("production needs JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL")
        for name in ("internal_api_key", "public_base_url", "cors_allowed_origins"):
            if not getattr(self, name):
                raise ValueError(f"production needs {name.upper()}")
        if "*" in self.cors_allowed_origins:
            raise ValueError("production needs CORS_ALLOWED_ORIGINS to name its origins, not *")
        return self

    @property
    def profiles(self) -> Profiles:
        """Ladders by name: the built-in ones and those of `config_dir`, as they were at the start."""
        return self._profiles

    @property
    def development(self) -> bool:
        return self.app_env is AppEnv.DEVELOPMENT

    @property
    def playback_is_open(self) -> bool:
        """Nobody is asked for a token: development with no secret set."""
        return self.development and not self.verifies_tokens

    @property
    def verifies_tokens(self) -> bool:
        """There is something to verify a listener's token with."""
        return any((self.jwt_secret, self.jwt_public_key, self.jwt_jwks_url))

    @property
    def base_url(self) -> str:
        """What absolute URLs begin with, without a slash at the end."""
        return self.public_base_url or f"http://localhost:{self.port}"

    @property
    def page_is_served(self) -> bool:
        return self.app_env is not AppEnv.PRODUCTION if self.web_page is None else self.web_page

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        return self.cors_allowed_origins or (("*",) if self.development else ())

    @property
    def logs_as_json(self) -> bool:
        return self.log_format == "json" if self.log_format else not self.development


def _begins_with(value: str | SecretStr | None, schemes: tuple[str, ...]) -> bool:
    """Whether it is not set, or one of these followed by something."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return text is None or any(text.startswith(scheme) and text != scheme for scheme in schemes)


def env_files(app_env: str, folder: Path) -> tuple[Path, ...]:
    """The files read in development, later ones winning; the process environment wins over both."""
    return (folder / ".env", folder / f".env.{app_env}") if app_env == AppEnv.DEVELOPMENT else ()


def load_settings(folder: Path | None = None) -> Settings:
    """Read the environment (in development the .env files too).

    Raises:
        pydantic.ValidationError: a value is missing or wrong; its errors name the setting.
    """
    app_env = os.environ.get("APP_ENV", AppEnv.DEVELOPMENT)
    return Settings(_env_file=env_files(app_env, folder or Path.cwd()))


def secret_names() -> frozenset[str]:
    """The environment names that hold secrets."""
    return frozenset(
        name.upper() for name, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)
    )


def forget_secrets() -> None:
    """Take the secrets out of `os.environ`, so that no child process inherits them."""
    secret = secret_names() | set(NOT_SUPPORTED)
    for name in list(os.environ):
        if name.upper() in secret:
            del os.environ[name]


def ignored_settings() -> tuple[str, ...]:
    """The settings that are set and that this version does nothing with."""
    return tuple(name for name in NOT_SUPPORTED if os.environ.get(name))
