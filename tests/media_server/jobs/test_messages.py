"""The companion kit: the schemas are the models', and every golden message is one of them.

`config/contract/schemas` is written by `media-server schemas config/contract/schemas`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from media_server.broker import envelope
from media_server.broker.envelope import UPLOADED, Refused
from media_server.jobs.intake import work_of
from media_server.jobs.messages import DATA, STREAM_READY, schemas
from media_server.jobs.submission import Submission

KIT = Path(__file__).resolve().parents[3] / "config" / "contract"
GOLDEN = {path.stem: orjson.loads(path.read_bytes()) for path in sorted((KIT / "messages").glob("*.json"))}
CAMEL = "track.uploaded.camel-case"
BARE = "track.uploaded.bare"
SCHEMAS = schemas()


def schema_of(name: str) -> dict[str, Any]:
    return SCHEMAS[next(known for known in SCHEMAS if name.startswith(known))]


def test_the_committed_schemas_are_the_models() -> None:
    committed = {path.stem: orjson.loads(path.read_bytes()) for path in (KIT / "schemas").glob("*.json")}
    assert committed == SCHEMAS


def test_there_is_a_golden_message_of_every_kind() -> None:
    for name in (*DATA, STREAM_READY):
        assert any(golden.startswith(name) for golden in GOLDEN), name


@pytest.mark.parametrize("name", sorted(set(GOLDEN) - {CAMEL, BARE}))
def test_a_golden_message_is_valid(name: str) -> None:
    validator = Draft202012Validator(schema_of(name), format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert [error.message for error in validator.iter_errors(GOLDEN[name])] == []


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("stream-ready.completed", "status", "ready"),
        ("stream-ready.completed", "sequence", 0),
        ("stream-ready.failed", "error", {"code": "Not Stable"}),
        ("transcoding.progress", "version", 2),
        ("track.deleted", "data", {}),
    ],
)
def test_the_schemas_refuse_what_is_not_in_the_contract(name: str, field: str, value: object) -> None:
    assert list(Draft202012Validator(schema_of(name)).iter_errors(GOLDEN[name] | {field: value}))


@pytest.mark.parametrize("name", ["track.uploaded", CAMEL, BARE])
def test_every_form_of_an_upload_asks_for_the_same(name: str) -> None:
    """Both envelope forms and both cases; the bare one tells no id and no version."""
    event = envelope.parse(orjson.dumps(GOLDEN[name]), UPLOADED)
    work = work_of(event)
    request = Submission.model_validate_json(work.body).request
    wanted = GOLDEN["track.uploaded"]["data"]
    assert work.track_id == request.track_id == wanted["track_id"]
    assert request.source.model_dump(exclude_none=True) == wanted["source"]
    assert (request.title, request.artist, request.user_id) == ("Evening", "The Tests", wanted["user_id"])
    assert request.options.ladder == ("128k", "320k", "opus-128")
    assert (request.source_version or None) == (None if name == BARE else 3)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        envelope.parse(orjson.dumps(GOLDEN["track.uploaded"] | {"version": 2}), UPLOADED)
    assert refused.value.code == "unknown_version"
