"""A RabbitMQ node of our own: free ports, its own epmd, cookie and folder, beside a system's node.

Needs Debian's `rabbitmq-server`. A quorum queue that was declared a moment ago may be lost with a kill -9.
Source: reliability fact 7.
"""

from __future__ import annotations

import atexit
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from servers.freeze import freeze
from servers.ports import free_ports

PASSWORD = "a-password-of-the-tests"
SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The program itself: Debian's wrapper in /usr/sbin changes the user and refuses most."""

START_WITHIN_S, STOP_WITHIN_S = 60.0, 30.0
LOOK_EVERY_S = 0.05
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
default_user = media
default_pass = {password}
loopback_users = none
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
"""
ERLANG_ARGUMENTS = (
    # two schedulers that do not spin: the cores are for the code under test
    "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
)


class NotInstalledError(Exception):
    """There is no RabbitMQ on this machine."""


class PrivateRabbitMQ:
    """One node, from `start` to `close`; it may be stopped, killed, paused and started again in between."""

    def __init__(self) -> None:
        if not os.access(SERVER, os.X_OK):
            raise NotInstalledError(f"no {SERVER}: install the package rabbitmq-server")
        self._folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        self.port, distribution_port, self._epmd_port = free_ports(3)
        self._log = self._folder / "node.log"
        self._process: subprocess.Popen[bytes] | None = None
        (self._folder / "enabled_plugins").write_text("[].\n")
        configuration = CONFIGURATION.format(port=self.port, password=PASSWORD)
        (self._folder / "rabbitmq.conf").write_text(configuration)
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ},
            "HOME": str(self._folder),  # the cookie is made there
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "none"),  # not the system's
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self._folder / "generated"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_NODENAME": f"t{secrets.token_hex(4)}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG_ARGUMENTS,
            # the shell becomes the node, so that a signal to our child reaches it
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    @property
    def url(self) -> str:
        return f"amqp://media:{PASSWORD}@127.0.0.1:{self.port}/"

    def start(self) -> PrivateRabbitMQ:
        """Start the node, also after a stop or a kill, and wait until it speaks AMQP.

        Raises:
            RuntimeError: it ended or does not answer; with the end of its log.
        """
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [SERVER],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ does not run: {self._log.read_text()[-2000:]}")
            time.sleep(LOOK_EVERY_S)
        return self

    def stop(self) -> None:
        """End it in order: its clients are told."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it on the spot: kill -9."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_WITHIN_S)

    def pause(self) -> None:
        """Freeze it; from then on nothing answers."""
        assert self._process is not None
        freeze(self._process)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and leave nothing behind; to be called any number of times."""
        self.stop()
        epmd = shutil.which("epmd")
        if epmd is not None:  # ours only: its port is not the usual one
            subprocess.run(
                [epmd, "-port", str(self._epmd_port), "-kill"],
                env=self._environment,
                capture_output=True,
                check=False,
                timeout=STOP_WITHIN_S,
            )
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PrivateRabbitMQ:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        """An open port is not enough: the protocol's header must be answered with a frame."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                connection.settimeout(1)
                connection.sendall(PROTOCOL_HEADER)
                return connection.recv(1) == b"\x01"
        except OSError:
            return False


@functools.cache
def shared_rabbitmq() -> PrivateRabbitMQ:
    """The node that all tests of this process share, each with queues of its own; it ends with the process.

    Raises:
        NotInstalledError.
    """
    node = PrivateRabbitMQ()
    atexit.register(node.close)
    return node.start()
