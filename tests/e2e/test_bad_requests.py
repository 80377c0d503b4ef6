"""What is no proper request: a problem that says what is wrong, and nothing of it is kept.

Source: RFC 9457; reliability, "Identity, URLs, HTTP" and bad inputs 1, 49, 51, 52.
"""

from __future__ import annotations

import http.client
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from companion.callbacks import Companion
from e2e.server import JOBS, TRANSCODE, Json, Server
from e2e.test_delivery import token

MAX_SOURCE_BYTES = 200_000
SECRET = "a-secret-that-signs-tokens-0123456789"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
OTHER_SPELLING = "00000000-0000-4000-8000-00000000000A"
"""A UUID, but not as ids are written here."""


def problem(answer: httpx2.Response, status: int, code: str) -> Json:
    """The body of an answer that is this problem."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.text
    )
    body: Json = answer.json()
    assert set(body) - {"limits"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:veza:problem:{code}")
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["cache-control"] == "no-store"
    return body


def test_an_empty_file_is_refused_before_it_is_a_job(server: Server, tmp_path: Path) -> None:
    """Bad input 1."""
    (tmp_path / "empty.mp3").touch()
    track_id = str(uuid.uuid4())
    problem(server.submit(tmp_path / "empty.mp3", track_id=track_id), 422, "empty")
    assert server.client.get(JOBS, params={"track_id": track_id}).json()["jobs"] == []


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("text/plain", b"hello", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", b"a=b", 415, "unsupported_media_type"),
        ("application/json", b"{", 400, "bad_job"),
        ("application/json", b"[1]", 400, "bad_job"),
        ("application/json", b'{"track_id": NaN}', 400, "bad_job"),
        ("application/json", b'{"track_id": "../../x", "source": {"path": "a"}}', 400, "bad_job"),
        (
            "application/json",
            f'{{"track_id": "{OTHER_SPELLING}", "source": {{"path": "a"}}}}'.encode(),
            400,
            "bad_job",
        ),
        ("application/json", f'{{"track_id": "{UNKNOWN}"}}'.encode(), 400, "bad_job"),
        ("application/json", f'{{"track_id": "{UNKNOWN}", "source": {{}}}}'.encode(), 400, "bad_job"),
        ("application/json", b"[" * 100_000, 400, "bad_job"),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400, "no_file"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Dis", 400, "bad_form"),
        ("multipart/form-data", b"--b--\r\n", 400, "bad_form"),
    ],
)
def test_a_body_that_is_no_job_is_refused(
    server: Server, content_type: str, body: bytes, status: int, code: str
) -> None:
    """Bad inputs 51, 52; an id is a UUID in its one canonical form."""
    answer = server.client.post(TRANSCODE, content=body, headers={"Content-Type": content_type})
    problem(answer, status, code)


@pytest.mark.parametrize(
    "path",
    [
        f"/hls/{UNKNOWN}/master.m3u8",
        f"/hls/{OTHER_SPELLING}/master.m3u8",
        "/hls/..%2f..%2fetc%2fpasswd/master.m3u8",
        "/hls/%2e%2e/master.m3u8",
        "/hls/../../etc/passwd",
        f"/hls/{UNKNOWN}/0123456789abcdef/128k/..%2f..%2f..%2fasset.json",
        f"/hls/{UNKNOWN}/0123456789abcdef/128k/..%5casset.json",
        f"/hls/{UNKNOWN}/%00/128k/0-00000000.m4s",
        f"/hls/%7b{UNKNOWN}%7d/stream_128k.m3u8",
        f"/hls/{'a' * 4096}/master.m3u8",
        f"/tracks/{UNKNOWN}",
        f"/tracks/{UNKNOWN.replace('-', '')}",
        f"/tracks/{UNKNOWN}%0d%0aX-Evil:%201",
        "/tracks/%ef%bc%8e%ef%bc%8e",
        f"{JOBS}/{UNKNOWN}",
        f"{JOBS}/{OTHER_SPELLING}",
        f"{JOBS}/..%2f..%2fstatus",
    ],
)
def test_what_is_not_there_is_not_found_however_it_is_spelt(server: Server, path: str) -> None:
    """Path traversal: no spelling leads out of the folder, and none is a fault of the server."""
    url = httpx2.URL(server.url)
    connection = http.client.HTTPConnection(url.host, url.port, timeout=30)
    connection.putrequest("GET", path)  # as it is: other clients tidy the dots up
    connection.endheaders()
    raw = connection.getresponse()
    answer = httpx2.Response(raw.status, headers=raw.getheaders(), content=raw.read())
    connection.close()
    body = problem(answer, 404, answer.json()["code"])
    assert body["code"] in {"not_found", "track_not_found", "job_not_found"}
    assert "x-evil" not in answer.headers


def test_an_internal_route_is_for_this_machine_alone(server: Server) -> None:
    """Without a key: a name that somebody's DNS points here, or a page of another origin, is not from us."""
    for path in (JOBS, "/dev/jobs"):
        assert server.get(path).status_code == 200
        for header, value in (
            ("Host", "media.example"),
            ("Host", f"127.0.0.1.nip.example:{httpx2.URL(server.url).port}"),
            ("Origin", "https://evil.example"),
            ("Sec-Fetch-Site", "cross-site"),
        ):
            answer = server.client.get(path, headers={header: value})
            problem(answer, 403, "internal_only")
            assert "access-control-allow-origin" not in answer.headers
    form = {"Content-Type": "multipart/form-data; boundary=b", "Origin": "https://evil.example"}
    problem(server.client.post("/dev/tracks", content=b"--b--\r\n", headers=form), 403, "internal_only")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, server_companion: Companion) -> Iterator[Server]:
    """Asks for tokens, and takes small files only."""
    settings = {
        "JWT_SECRET": SECRET,
        "MAX_SOURCE_BYTES": MAX_SOURCE_BYTES,
        "BACKEND_API_URL": server_companion.url,
    }
    server = Server(tmp_path_factory.mktemp("strict"), settings)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.mark.parametrize("size_bytes", [MAX_SOURCE_BYTES + 1, 16 << 20], ids=["by-a-byte", "by-far"])
@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
def test_a_file_that_is_too_large_is_refused_with_the_limit(
    strict: Server, size_bytes: int, chunked: bool
) -> None:
    """Bad input 49: before its end is read, and nothing of it is kept."""
    track_id = str(uuid.uuid4())
    part = f'--b\r\nContent-Disposition: form-data; name="track_id"\r\n\r\n{track_id}\r\n'
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
    body = (part + file).encode() + bytes(size_bytes) + b"\r\n--b--\r\n"
    pieces = (body[at : at + 65_536] for at in range(0, len(body), 65_536))
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = strict.client.post(TRANSCODE, content=pieces if chunked else body, headers=headers)
    assert problem(answer, 413, "too_large")["limits"] == {"MAX_SOURCE_BYTES": MAX_SOURCE_BYTES}
    assert strict.client.get(JOBS, params={"track_id": track_id}).json()["jobs"] == []
    assert [*(strict.data_dir / "incoming").iterdir(), *strict.data_dir.glob("storage/uploads/*")] == []


def test_a_file_as_large_as_allowed_is_taken(strict: Server, tmp_path: Path) -> None:
    (tmp_path / "full.mp3").write_bytes(bytes(MAX_SOURCE_BYTES))
    job = strict.wait_for(strict.upload(tmp_path / "full.mp3")["job_id"])
    assert job["error"]["code"] == "not_audio"


def test_without_a_token_nobody_learns_what_there_is(strict: Server) -> None:
    """An unknown track answers like a private one; 404 is for those who may hear any."""
    path = f"/hls/{UNKNOWN}/master.m3u8"
    nobody = problem(strict.get(path), 401, "token_needed")
    assert nobody["detail"]
    for bad in (
        "x.y.z",
        "x",
        token("me", secret="another-secret-of-the-same-length-0123"),
        token("me", exp=1),
    ):
        answer = strict.get(path, authorization=f"Bearer {bad}")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert strict.get(path, authorization=f"Bearer {token('listener')}").status_code == 403
    problem(strict.get(path, authorization=f"Bearer {token('chief', role='admin')}"), 404, "track_not_found")
