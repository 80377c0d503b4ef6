"""The cage a job's child process works in.

FFmpeg on hostile files may crash, hang or eat memory. The child may read its one source and the
interpreter, write nothing, open no socket, start no program; it has none of root's privileges even where the
server has them, bounds of memory, CPU time and open files, and ends with its parent.
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

HEADROOM_BYTES = 64 << 20
"""More than the allocator keeps for itself, so that the kernel is asked."""

BASE_CPU_S = 30
CPU_PER_AUDIO_SECOND = 0.25
"""CPU allowed for each second of the longest audio, all renditions together; the need is under a fifth."""

_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2
"""All that root keeps: the source may be somebody's own. Landlock still bounds what can be opened."""

MAX_OPEN_FILES = 64
_TCP_BIND_AND_CONNECT = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3
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
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_OPEN_FILES, MAX_OPEN_FILES))
    _allow_cpu(PROBE_CPU_S)
    if sys.platform == "linux":
        drop_privileges()
        restrict_files(source)
        restrict_calls()
    # after Landlock and seccomp, because they bind the calling thread and those it starts; before the bound
    # of memory, because a thread that finds none to start with is waited for in vain
    follow_parent()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def has_room() -> bool:
    """Whether there is memory left.

    Where there is none, a failure says nothing of the file: FFmpeg calls one invalid, or finds no audio in
    it, also because an allocation of its own failed.
    """
    try:
        bytearray(HEADROOM_BYTES)
    except MemoryError:
        return False
    return True


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


def drop_privileges() -> None:
    """No capability but to read, and none to be gained: root could lift its own bounds."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    held = ctypes.create_string_buffer(24)
    _checked(libc.capget(header, held), "capget")
    effective, permitted = (word & _CAP_DAC_READ_SEARCH for word in struct.unpack_from("=II", held))
    _checked(libc.capset(header, struct.pack("=6I", effective, permitted, 0, 0, 0, 0)), "capset")
    _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def restrict_files(source: Path) -> None:
    """Landlock: from here on only `source`, the interpreter and libraries can be opened, only to read.

    Where the kernel can, it refuses TCP and signals to other processes too: seccomp may be missing.
    """
    abi = landlock_abi()
    if not abi:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    handled = _FILE_RIGHTS_BY_ABI[min(abi, max(_FILE_RIGHTS_BY_ABI))]
    attributes = struct.pack("=QQQ", handled, _TCP_BIND_AND_CONNECT, _ABSTRACT_SOCKETS_AND_SIGNALS)
    known_bytes = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = _checked(libc.syscall(_LANDLOCK_CREATE_RULESET, attributes, known_bytes, 0), "landlock")
    for path, rights in _readable(source):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, descriptor))
        _checked(libc.syscall(_LANDLOCK_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0), "landlock")
        os.close(descriptor)
    _checked(libc.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock")
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
    # abort() signals its own process, and nobody signals another
    rules.add_rule(forbidden, "tgkill", pyseccomp.Arg(0, pyseccomp.NE, os.getpid()))
    rules.add_rule(pyseccomp.ERRNO(38), "clone3")  # its flags cannot be seen; libc falls back to clone
    rules.load()


_FORBIDDEN_CALLS = (
    *("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4"),
    *("execve", "execveat", "fork", "vfork", "kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal", "open_by_handle_at", "name_to_handle_at"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "perf_event_open", "bpf", "userfaultfd"),
    *("mount", "umount2", "pivot_root", "chroot", "setns", "unshare", "swapon", "reboot"),
    *("keyctl", "add_key", "request_key", "init_module", "finit_module", "delete_module", "io_uring_setup"),
)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
