"""A command stops with one sentence a person can act on."""

from __future__ import annotations

import pytest
import typer

from media_server.cli.terminal import settings_or_stop, stop


def test_stop_says_one_sentence_and_ends_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught:
        stop("the disk is full", code=3)
    assert caught.value.exit_code == 3
    assert capsys.readouterr().err.strip() == "error: the disk is full"


def test_wrong_settings_are_named_without_their_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_SECRET", "hunter2")
    monkeypatch.setenv("PORT", "99999")
    with pytest.raises(typer.Exit) as caught:
        settings_or_stop()
    told = capsys.readouterr().err
    assert caught.value.exit_code == 2
    assert "PORT" in told
    assert "hunter2" not in told
