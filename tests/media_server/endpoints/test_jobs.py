"""media_server/endpoints/jobs.py"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

import pytest

from media_server.jobs.job import Job, JobState, Stage, now_rfc3339
from media_server.jobs.submission import Submission

TRANSCODE = "/api/v1/internal/transcode"
JOBS = "/api/v1/internal/jobs"
TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
WANTED: dict[str, Any] = {"track_id": TRACK, "source": {"path": "in/song.wav"}, "title": "Song"}


async def submit(server: Any, body: Any = WANTED, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await server.ask(TRANSCODE, "POST", json=body, headers=given)


def form(content: bytes = b"RIFF", /, **fields: str) -> dict[str, Any]:
    return {"files": {"file": ("a.wav", content)}, "data": fields}


async def delivered(server: Any) -> Submission:
    return Submission.model_validate_json((await server.services.broker.receive()).body)


@pytest.mark.parametrize("path", [TRANSCODE, "/transcode"])
async def test_a_submit_is_durable_and_says_where_it_stands(server: Any, path: str) -> None:
    """Contract: 202 means the job is durable; Location names it; the alias does the same."""
    answer = await server.ask(path, "POST", json=WANTED)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{JOBS}/{job['job_id']}"
    assert (await server.ask(answer.headers["location"])).json() == job
    submission = await delivered(server)
    assert submission.request.source.path == "in/song.wav"
    assert submission.calls_back


async def test_a_job_belongs_to_the_trace_of_its_request(server: Any) -> None:
    """Contract, callback: `traceparent`; nonsense is not passed on."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await submit(server, traceparent=trace)
    assert (await delivered(server)).traceparent == trace
    await server.ask(TRANSCODE, "POST", headers={"traceparent": trace}, **form())
    assert (await delivered(server)).traceparent == trace
    await submit(server, {**WANTED, "track_id": str(uuid.uuid4())}, traceparent="00-1-2-01")
    assert (await delivered(server)).traceparent is None


async def test_a_job_has_the_contracts_fields(server: Any) -> None:
    job = (await submit(server)).json()
    assert set(job) >= {
        "job_id", "track_id", "status", "stage", "percent", "attempt", "created_at", "started_at",
        "finished_at", "warnings", "error", "result",
    }  # fmt: skip
    assert (job["track_id"], job["status"], job["percent"], job["attempt"]) == (TRACK, "queued", 0.0, 0)
    assert (job["error"], job["result"], job["warnings"]) == (None, None, [])


async def test_camel_case_is_read_too(server: Any) -> None:
    """Contract, events: readers accept snake_case and camelCase keys and ignore what they do not know."""
    body = {"trackId": TRACK, "source": {"path": "a"}, "userId": "7", "somethingNew": {"a": 1}}
    assert (await submit(server, body)).status_code == 202
    assert (await delivered(server)).request.user_id == "7"


async def test_the_same_submit_is_the_same_job(server: Any) -> None:
    first, again = (await submit(server)).json(), (await submit(server)).json()
    other = (await submit(server, {**WANTED, "source": {"path": "other.wav"}})).json()
    assert first["job_id"] == again["job_id"] != other["job_id"]
    assert (await server.services.broker.depth()).waiting == 2


async def test_an_idempotency_key_names_the_job(server: Any) -> None:
    """Contract: an HTTP submit honours Idempotency-Key."""
    first = (await submit(server, Idempotency_Key="k1")).json()
    again = (await submit(server, {**WANTED, "title": "Other"}, Idempotency_Key="k1")).json()
    other = (await submit(server, Idempotency_Key="k2")).json()
    assert first == again
    assert other["job_id"] != first["job_id"]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00e9"])
async def test_a_key_that_is_none_is_refused(server: Any, key: str) -> None:
    answer = await server.ask(
        TRANSCODE, "POST", json=WANTED, headers={"Idempotency-Key": key.encode("latin-1")}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_idempotency_key")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"1", "object"),
        (b'{"track_id": NaN}', "JSON"),
        (b"[" * 10_000, "JSON"),
        (b"{}", "track_id"),
        (json.dumps({**WANTED, "track_id": "../../x"}).encode(), "track_id"),
        (json.dumps({**WANTED, "track_id": TRACK.upper()}).encode(), "track_id"),
        (json.dumps({**WANTED, "track_id": 7}).encode(), "track_id"),
        (json.dumps({**WANTED, "source": {}}).encode(), "source"),
        (json.dumps({**WANTED, "source": {"path": "a", "url": "https://b"}}).encode(), "source"),
        (json.dumps({**WANTED, "source": "a"}).encode(), "source"),
        (json.dumps({**WANTED, "visibility": "secret"}).encode(), "visibility"),
        (json.dumps({**WANTED, "options": {"ladder": ["1k"]}}).encode(), "ladder"),
        (
            json.dumps({**WANTED, "options": {"profile": "radio"}}).encode(),
            "options.profile: profile must be",
        ),
        (json.dumps({**WANTED, "options": {"loudness": {"target_lufs": 3}}}).encode(), "target_lufs"),
        (json.dumps({**WANTED, "options": {"loudness": {"mode": "album"}}}).encode(), "needs an album_id"),
        (json.dumps({**WANTED, "title": "x" * 1025}).encode(), "title"),
    ],
)
async def test_what_is_no_job_is_refused_with_its_field(server: Any, body: bytes, word: str) -> None:
    """Bad inputs 51, 52: bad_job, and which field; nothing is queued."""
    answer = await server.ask(TRANSCODE, "POST", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_job")
    assert word in answer.json()["detail"]
    assert (await server.services.broker.depth()).waiting == 0


async def test_a_problem_does_not_repeat_what_was_sent(server: Any) -> None:
    """It may be a secret in the wrong field."""
    answer = await submit(server, {**WANTED, "visibility": "hunter2"})
    assert "hunter2" not in answer.text


async def test_a_body_over_a_mebibyte_is_refused(server: Any) -> None:
    answer = await submit(server, {**WANTED, "note": "x" * 1_048_576})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["limits"] == {"body_bytes": 1_048_576}


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
async def test_a_body_of_another_kind_is_refused(server: Any, content_type: str) -> None:
    answer = await server.ask(TRANSCODE, "POST", content=b"x", headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_file_may_come_with_the_job(server: Any) -> None:
    """Contract, multipart: file, optional track_id, options (JSON), the tags."""
    fields = {
        "track_id": TRACK,
        "title": "Song",
        "artist": "Ann",
        "user_id": "7",
        "options": '{"ladder": ["128k"]}',
    }
    answer = await server.ask(TRANSCODE, "POST", **form(**fields))
    assert answer.status_code == 202
    submission = await delivered(server)
    request = submission.request
    assert (request.track_id, request.title, request.artist, request.user_id) == (TRACK, "Song", "Ann", "7")
    assert request.options.ladder == ("128k",)
    assert request.visibility == "private"
    assert submission.calls_back
    assert submission.upload is not None


async def test_a_track_id_is_made_if_absent_and_empty_fields_are_absent(server: Any) -> None:
    answer = await server.ask(TRANSCODE, "POST", **form(track_id="", visibility="", title=""))
    assert answer.status_code == 202
    assert str(uuid.UUID(answer.json()["track_id"])) == answer.json()["track_id"]
    assert answer.json()["title"] == "a"  # an empty title is none: the file's name stands in


@pytest.mark.parametrize(
    ("fields", "word"),
    [({"track_id": "x"}, "track_id"), ({"options": "{"}, "options"), ({"options": "[]"}, "options"),
     ({"visibility": "all"}, "visibility")],
)  # fmt: skip
async def test_a_wrong_field_leaves_no_file(server: Any, fields: dict[str, str], word: str) -> None:
    answer = await server.ask(TRANSCODE, "POST", **form(**fields))
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_job")
    assert word in answer.json()["detail"]
    folders = server.services.folders
    assert await server.uploads() == {}
    assert server.left_in(folders.incoming) == []


async def test_the_same_upload_twice_is_one_job_and_one_file(server: Any) -> None:
    answers = [await server.ask(TRANSCODE, "POST", **form(track_id=TRACK)) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert list(await server.uploads()) == [answers[0].json()["job_id"]]


async def test_another_file_under_the_same_key_does_not_replace_the_first(server: Any) -> None:
    """The job that the key names has its file already."""
    headers = {"Idempotency-Key": "k"}
    await server.ask(TRANSCODE, "POST", headers=headers, **form(b"first", track_id=TRACK))
    await server.ask(TRANSCODE, "POST", headers=headers, **form(b"second", track_id=TRACK))
    assert list((await server.uploads()).values()) == [b"first"]


async def test_a_failed_upload_that_comes_again_brings_its_file_again(server: Any) -> None:
    job = (await server.ask(TRANSCODE, "POST", **form(track_id=TRACK))).json()
    delivery = await server.services.broker.receive()
    known = await server.services.state.get(job["job_id"])
    await server.services.state.save(known.to(JobState.FAILED))
    await delivery.ack()
    await server.services.storage.delete(f"uploads/{job['job_id']}")
    again = (await server.ask(TRANSCODE, "POST", **form(track_id=TRACK))).json()
    assert (again["job_id"], again["status"]) == (job["job_id"], "queued")
    assert await server.uploads() == {job["job_id"]: b"RIFF"}


async def test_without_the_key_nothing_is_submitted(guarded: Any, key: dict[str, str]) -> None:
    assert (await submit(guarded)).status_code == 401
    assert (await guarded.ask("/transcode", "POST", **form())).status_code == 401
    assert (await guarded.services.broker.depth()).waiting == 0
    assert (await guarded.ask(TRANSCODE, "POST", json=WANTED, headers=key)).status_code == 202


@pytest.mark.parametrize("job_id", ["x", TRACK, TRACK.upper(), "%2e%2e", "x" * 4096])
async def test_an_unknown_job_is_404(server: Any, job_id: str) -> None:
    answer = await server.ask(f"{JOBS}/{job_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")


async def saved(server: Any, number: int, **changes: Any) -> Job:
    job = Job(
        job_id=f"00000000-0000-4000-8000-00000000000{number}",
        track_id=TRACK,
        created_at=f"2026-01-01T00:00:0{number}.000Z",
    )
    await server.services.state.save(replace(job, **changes))
    return job


async def test_jobs_are_listed_newest_first_page_by_page(server: Any) -> None:
    jobs = [await saved(server, number) for number in range(5)]
    found, cursor = [], ""
    for _ in range(3):
        page = (await server.ask(f"{JOBS}?limit=2{cursor}")).json()
        found += [job["job_id"] for job in page["jobs"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert found == [job.job_id for job in reversed(jobs)]
    assert page["next_cursor"] is None


async def test_jobs_are_filtered(server: Any) -> None:
    """Contract: `GET …/jobs?status=&track_id=&updated_since=&cursor=`, for reconciliation."""
    await saved(server, 1)
    running = await saved(server, 2, status=JobState.RUNNING, stage=Stage.ENCODE, percent=42.0)
    other = await saved(server, 3, track_id="00000000-0000-4000-8000-00000000000a")

    async def ids(query: str) -> list[str]:
        return [job["job_id"] for job in (await server.ask(f"{JOBS}?{query}")).json()["jobs"]]

    assert await ids("status=running") == [running.job_id]
    assert await ids("track_id=00000000-0000-4000-8000-00000000000a") == [other.job_id]
    assert await ids("updated_since=2999-01-01T00:00:00Z") == []
    assert len(await ids("updated_since=2020-01-01T00:00:00%2B02:00")) == 3
    assert len(await ids("updated_since=2020-01-01T00:00:00+02:00")) == 3
    hour_ahead_in_its_zone = now_rfc3339().replace("Z", "%2B05:00")
    assert len(await ids(f"updated_since={hour_ahead_in_its_zone}")) == 3


@pytest.mark.parametrize(
    ("query", "code"),
    [("status=done", "bad_parameter"), ("limit=0", "bad_parameter"), ("limit=201", "bad_parameter"),
     ("limit=x", "bad_parameter"), ("limit=-1", "bad_parameter"), ("limit=%D9%A1", "bad_parameter"),
     ("updated_since=yesterday", "bad_parameter"), ("updated_since=2026-01-01T00:00:00", "bad_parameter"),
     ("cursor=x", "bad_cursor"), ("cursor=W10", "bad_cursor"), ("cursor=%C3%A4", "bad_cursor")],
)  # fmt: skip
async def test_a_wrong_parameter_is_told(server: Any, query: str, code: str) -> None:
    answer = await server.ask(f"{JOBS}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
