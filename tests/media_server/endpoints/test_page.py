"""media_server/endpoints/page.py"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from media_server.endpoints import page

LOADED = sorted(
    path.relative_to(page.ROOT).as_posix()
    for path in page.ROOT.iterdir()
    if path.suffix in {".js", ".css", ".svg"}
)


async def test_the_page_and_all_that_it_names_is_there(server: Any) -> None:
    answer = await server.ask("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    named = set(re.findall(r'(?:src|href)="(/[^"#]+)"', answer.text))
    assert "/web/app.js" in named
    for url in named:
        assert (await server.ask(url)).status_code == 200


async def test_each_file_has_its_type(server: Any) -> None:
    """nosniff: a browser runs no script and takes no style of another type."""
    expected = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for name in LOADED:
        answer = await server.ask(f"/web/{name}")
        assert answer.headers["content-type"].partition(";")[0] == expected[Path(name).suffix]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.content == (page.ROOT / name).read_bytes()


async def test_a_known_file_costs_a_304(server: Any) -> None:
    for url in ("/", "/web/app.js"):
        first = await server.ask(url)
        assert first.headers["cache-control"] == "no-cache"
        assert (await server.ask(url, headers={"If-None-Match": first.headers["etag"]})).status_code == 304


async def test_files_are_zipped_for_those_who_take_it(server: Any) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    answer = await server.raw("GET", "/web/app.js", {"accept-encoding": "gzip"}, receive)
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == (page.ROOT / "app.js").read_bytes()


async def test_a_file_that_changes_is_read_again(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a developer works on the page a reload shows the work."""
    monkeypatch.setattr(page, "ROOT", tmp_path)
    file = tmp_path / "a.js"
    file.write_text("one")
    first = await server.ask("/web/a.js")
    file.write_text("other")
    second = await server.ask("/web/a.js", headers={"If-None-Match": first.headers["etag"]})
    assert (first.text, second.text) == ("one", "other")


OTHERS = [
    "", ".", "vendor", "vendor/", "index.html", "package.json", "package-lock.json", "vendor/LICENSE",
    "../settings.py", "%2e%2e/settings.py", "..%2fsettings.py", "vendor/..%2f..%2fsettings.py",
    "%2fetc%2fpasswd", "..%5csettings.js", "a%00.js", ".hidden.js", "vendor/.hidden.js", "app.js/", "APP.JS",
    "nothing.js", "x" * 4096 + ".js", "%c3%a4.js", "node_modules/hls.js/dist/hls.js",
]  # fmt: skip


async def test_nothing_else_is_served(server: Any) -> None:
    """No listing, no way out of the folder, no file that the page does not load."""
    for path in OTHERS:
        assert (await server.ask(f"/web/{path}")).status_code == 404, path


@pytest.mark.parametrize(
    "path", ["/web/..", "/web/../settings.py", "/web/./app.js", "/web//app.js", "/web/vendor/../app.js"]
)
async def test_a_path_that_no_browser_sends_is_not_tidied_up(server: Any, path: str) -> None:
    """Sent as it stands, without the resolving that clients do."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    assert (await server.raw("GET", path, {}, receive)).status == 404


async def test_a_link_out_of_the_folder_is_not_followed(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "web"
    root.mkdir()
    (tmp_path / "outside.js").write_text("secret")
    (root / "link.js").symlink_to(tmp_path / "outside.js")
    monkeypatch.setattr(page, "ROOT", root)
    assert (await server.ask("/web/link.js")).status_code == 404


async def test_the_configuration_tells_the_page_what_it_may(server: Any) -> None:
    answer = await server.ask("/web/config.json")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "development": True,
        "upload": True,
        "version": "0.0.0-test",
        "max_source_bytes": 4_294_967_296,
    }


async def test_who_could_not_upload_is_not_offered_to(server: Any, start: Callable[..., Any]) -> None:
    """A phone in the same network sees the page; its uploads would be refused."""
    seen = await server.ask("/web/config.json", peer="192.168.1.7", base="http://192.168.1.2:8082")
    assert not seen.json()["upload"]
    staging = start(app_env="staging", web_page=True)
    assert (await staging.ask("/web/config.json")).json()["upload"] is False


async def test_the_icon_is_found_where_browsers_look_for_it(server: Any) -> None:
    answer = await server.ask("/favicon.ico")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")


async def test_without_the_page_only_the_root_answers(start: Callable[..., Any]) -> None:
    """WEB_PAGE=false."""
    server = start(web_page=False)
    assert (await server.ask("/")).json() == {"service": "stream-server", "version": "0.0.0-test"}
    for path in ("/web/app.js", "/web/config.json", "/favicon.ico"):
        assert (await server.ask(path)).status_code == 404
