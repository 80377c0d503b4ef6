"""The cage a job's child process works in.

FFmpeg on hostile files may crash, hang or eat memory. The child may read its one source and the
interpreter, write nothing, open no socket, start no program; it has bounds of memory and CPU time and ends
with its parent.
Where the kernel lacks Landlock or seccomp the resource limits remain, and `confinement` says so.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
import sysconfig
import threading
from multiprocessing import parent_process
from pathlib import Path

# imported here, in the forkserver: looking for the library starts programs, which the cage forbids
try:
    import pyseccomp
except (ImportError, OSError, RuntimeError):  # no libseccomp on this machine; `confinement` says so
    pyseccomp = None

PROBE_CPU_S = 5
"""A megabyte of tags can keep a demuxer busy for half a minute; an honest file opens in milliseconds."""

BASE_CPU_S = 30
CPU_PER_AUDIO_SECOND = 0.25
"""CPU allowed for each second of the longest audio, all renditions together; the need is under a fifth."""

_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS_BY_ABI = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    4: (1 << 15) - 1,
    5: (1 << 16) - 1,
}


def enter(source: Path, memory_bytes: int) -> None:
    """Lock this process in; called first thing in the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _allow_cpu(PROBE_CPU_S)
    if sys.platform == "linux":
        restrict_files(source)
        restrict_calls()
    # after Landlock and seccomp, because they bind the calling thread and those it starts; before the bound
    # of memory, because a thread that finds none to start with is waited for in vain
    follow_parent()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def follow_parent() -> None:
    """End when the parent does, and not before it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()


def allow_cpu(max_duration_s: float) -> None:
    """The probe is done: allow the CPU time that the longest track may need."""
    _allow_cpu(_cpu_used_s() + BASE_CPU_S + CPU_PER_AUDIO_SECOND * max_duration_s)


def _allow_cpu(seconds: float) -> None:
    # past the soft limit the kernel sends SIGXCPU, whose default ends the process and names the reason
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(_cpu_used_s() + seconds) + 1, hard))


def _cpu_used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, int(libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)))


def confinement() -> str:
    """What confines a child here, for the start-up log: `landlock+seccomp`, one of them, or `rlimits`."""
    found = [name for name, there in (("landlock", landlock_abi()), ("seccomp", pyseccomp)) if there]
    return "+".join(found) or "rlimits"


def restrict_files(source: Path) -> None:
    """Landlock: from here on only `source`, the interpreter and libraries can be opened, only to read."""
    abi = landlock_abi()
    if not abi:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _FILE_RIGHTS_BY_ABI[min(abi, max(_FILE_RIGHTS_BY_ABI))]
    attributes = ctypes.create_string_buffer(struct.pack("Q", handled))
    ruleset = _checked(libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, 8, 0))
    for path, rights in _readable(source):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
        _checked(libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
        os.close(descriptor)
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _readable(source: Path) -> list[tuple[Path, int]]:
    """The source, and where modules are imported from lazily: never the folder that the server runs in."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    own = (Path(__file__).resolve().parents[2] / name for name in ("media_server", "pipeline", "hls"))
    folders = {*map(Path, installed), *own, Path("/usr/lib"), Path("/lib"), Path("/lib64")}
    folder_rights = _READ_FILE | _READ_DIR
    return [(source, _READ_FILE), *((folder, folder_rights) for folder in sorted(folders) if folder.is_dir())]


def restrict_calls() -> None:
    """seccomp: no sockets, no programs, no new processes, no looking into others."""
    if pyseccomp is None:
        return
    forbidden = pyseccomp.ERRNO(1)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in _FORBIDDEN_CALLS:
        rules.add_rule(forbidden, name)
    # a process is a clone without CLONE_THREAD (0x10000); threads must stay possible for the encoders
    rules.add_rule(forbidden, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, 0x10000, 0))
    rules.add_rule(pyseccomp.ERRNO(38), "clone3")  # its flags cannot be seen; libc falls back to clone
    rules.load()


_FORBIDDEN_CALLS = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("execve", "execveat", "fork", "vfork", "kill", "tkill"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "perf_event_open", "bpf", "userfaultfd"),
    *("mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "swapon", "reboot"),
    *("keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module", "io_uring_setup"),
)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return result
