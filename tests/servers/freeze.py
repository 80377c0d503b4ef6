"""Freezing a server: its connections stay open and nothing answers."""

from __future__ import annotations

import os
import signal
import subprocess


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Return once every thread of it stands still; until then one may still answer.

    Raises:
        RuntimeError: it ended instead.
    """
    process.send_signal(signal.SIGSTOP)
    # WNOWAIT: an end is left for the process object to find
    changed = os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    if changed is None or changed.si_code != os.CLD_STOPPED:
        raise RuntimeError(f"process {process.pid} ended, it was to be frozen")
