"""Who holds leases: an flock that the kernel lets go of however its process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from media_server.broker.owner import Owner

HOLD_UNTIL_KILLED = """
import sys
from pathlib import Path
from media_server.broker.owner import Owner
print(Owner(Path(sys.argv[1])).name, flush=True)
sys.stdin.read()
"""


def test_an_owner_lives_for_itself_and_for_others(tmp_path: Path) -> None:
    one, two = Owner(tmp_path), Owner(tmp_path)
    assert one.name != two.name
    assert one.lives(one.name)
    assert one.lives(two.name)
    two.close()
    assert not one.lives(two.name)
    one.close()


def test_nobody_lives_under_an_unknown_name(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    assert not owner.lives("0" * 32)
    owner.close()


def test_a_closed_owner_leaves_no_file_and_may_be_closed_again(tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    owner.close()
    owner.close()
    assert list(tmp_path.iterdir()) == []


def test_an_owner_is_dead_the_moment_its_process_is_killed(tmp_path: Path) -> None:
    """F1: nobody waits for a lease to run out."""
    owner = Owner(tmp_path)
    command = [sys.executable, "-c", HOLD_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert owner.lives(name)
        process.kill()
        process.wait(10)
    assert (tmp_path / f"{name}.lock").exists()
    assert not owner.lives(name)
    owner.close()


def test_sweeping_removes_the_files_of_the_dead_only(tmp_path: Path) -> None:
    owner, living = Owner(tmp_path), Owner(tmp_path)
    (tmp_path / f"{'0' * 32}.lock").touch()
    owner.sweep()
    assert {path.stem for path in tmp_path.iterdir()} == {owner.name, living.name}
    owner.close()
    living.close()
