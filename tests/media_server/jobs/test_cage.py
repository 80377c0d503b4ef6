"""The child may read its one source; nothing else of the machine is its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from media_server.jobs.cage import confinement, landlock_abi

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux's")

ENTER = """
import ctypes, os, resource, signal, socket, subprocess, sys, threading
from pathlib import Path
from media_server.jobs import cage
libc = ctypes.CDLL(None, use_errno=True)
def syscall(name, *arguments):
    import pyseccomp
    if libc.syscall(pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name), *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
source = Path(sys.argv[1])
cage.enter(source, 2 << 30)
"""


def caged(source: Path, code: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ENTER + code, str(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "attempt").mkdir()
    path = tmp_path / "attempt" / "src.bin"
    path.write_bytes(b"bytes")
    (tmp_path / "neighbour.bin").write_bytes(b"secret")
    return path


@linux_only
def test_the_source_can_be_read_and_encoders_may_have_threads(source: Path) -> None:
    done = caged(
        source,
        "assert source.read_bytes() == b'bytes'\n"
        "thread = threading.Thread(target=print, args=('ran',)); thread.start(); thread.join()",
    )
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr


@linux_only
@pytest.mark.parametrize(
    "forbidden",
    [
        "open('/etc/passwd').read()",
        "(source.parent.parent / 'neighbour.bin').read_bytes()",
        "(source.parent / 'new').write_bytes(b'x')",
        "source.write_bytes(b'x')",
        "source.unlink()",
        "os.listdir(source.parent)",
        "os.listdir('/')",
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "os.fork()",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 9)",
        "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)",
        "syscall('tgkill', os.getppid(), os.getppid(), 9)",
        "os.chown(source, 1, 1)",
        "os.setuid(1)",
        "os.nice(-1)",
        "[open(source) for _ in range(100)]",
    ],
)
def test_everything_else_is_refused(source: Path, forbidden: str) -> None:
    """reliability.md, decoder and upload: no network, no other files, no programs, no processes."""
    assert landlock_abi() > 0, "this machine's kernel lacks Landlock"
    done = caged(
        source, f"try:\n    {forbidden}\nexcept OSError as e:\n    print('refused', type(e).__name__)"
    )
    assert done.stdout.startswith("refused"), (done.stdout, done.stderr)


@linux_only
def test_no_bound_can_be_lifted_again(source: Path) -> None:
    """Root could, with its capabilities."""
    done = caged(
        source,
        "for name in ('AS', 'FSIZE', 'NOFILE', 'CORE'):\n    bound = getattr(resource, f'RLIMIT_{name}')\n"
        "    try:\n        resource.setrlimit(bound, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    except (ValueError, OSError):\n        print('refused')",
    )
    assert done.stdout == "refused\n" * 4, done.stderr


@linux_only
def test_a_decoder_that_aborts_dies_of_it(source: Path) -> None:
    """F2: the signal names how it ended; abort() is a tgkill of one's own process."""
    assert caged(source, "os.abort()").returncode == -signal.SIGABRT


@linux_only
@pytest.mark.slow
def test_a_probe_that_spins_is_ended_by_the_kernel(source: Path) -> None:
    """Fact 1: 24 s of CPU in one open; the probe has 5."""
    done = caged(source, "while True: pass")
    assert done.returncode == -signal.SIGXCPU


@linux_only
def test_memory_beyond_the_bound_is_refused(source: Path) -> None:
    done = caged(source, "try:\n    bytearray(3 << 30)\nexcept MemoryError:\n    print('refused')")
    assert done.stdout == "refused\n"


@linux_only
def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    """kill -9 of the server leaves no process: PR_SET_PDEATHSIG would not do behind a forkserver."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, sys, time\n"
        "from media_server.jobs import cage\n"
        "def child():\n"
        "    cage.follow_parent()\n"
        "    print('up', flush=True)\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('forkserver').Process(target=child)\n"
        "    process.start()\n"
        "    print(process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    assert "up" in lines
    parent.kill()
    parent.wait()
    # the pipe ends when its last holder has gone: the child held it too
    assert parent.stdout.read() == ""
    parent.stdout.close()


def test_the_start_up_log_names_what_confines() -> None:
    assert set(confinement().split("+")) <= {"landlock", "seccomp", "rlimits"}


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS binds on Linux")
def test_a_process_without_memory_has_no_room() -> None:
    """Then no file is called corrupt: FFmpeg may have had no room to read it."""
    program = """
import resource
from media_server.jobs import cage
before = cage.has_room()
resource.setrlimit(resource.RLIMIT_AS, (1 << 26, 1 << 26))
print(before, cage.has_room())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["True", "False"], "")
