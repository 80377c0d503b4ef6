"""`make demo-stack`: the product as it scales out, on one machine, with a track taken through it.

Starts RabbitMQ, Redis and SeaweedFS of its own, two servers and two workers; plays the companion: uploads a
song to its bucket, publishes `track.uploaded`, waits for the callback, and says where to listen. Ctrl-C ends
all of it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import signals
from companion.stack import Stack

READY_WITHIN_S = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("song", nargs="?", type=Path, help="an audio file; a synthesised one without")
    parser.add_argument("--once", action="store_true", help="end when the track is ready")
    asked = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="media-server-demo-") as folder:
        song = asked.song or _song(Path(folder))
        say("starting RabbitMQ, Redis, SeaweedFS, two servers and two workers")
        # anyone on this machine may listen, so that the addresses below work in any player
        open_to_all = {"JWT_SECRET": "", "URL_SIGNING_KEYS": ""}
        with Stack(Path(folder), env=open_to_all) as stack:
            began = time.monotonic()
            track_id = stack.publisher.upload(song, visibility="public", title=song.stem)
            say(f"track.uploaded is published: {track_id}")
            callbacks = stack.companion.wait_until(
                lambda came: any(one.body["track_id"] == track_id for one in came),
                "the callback",
                within_s=READY_WITHIN_S,
            )
            body = callbacks[-1].body
            say(f"stream-ready: {body['status']} after {time.monotonic() - began:.1f} s")
            if body["status"] != "completed":
                say(f"{body['error']['code']}: {body['error']['message']}")
                return 1
            for server in stack.servers:
                say(f"listen   {server.url}/#track={track_id}")
                say(f"         {server.master_url(track_id)}")
            if asked.once:
                return 0
            say("Ctrl-C ends all of it")
            ended.wait()
            say("ending")
    return 0


def say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _song(folder: Path) -> Path:
    path = folder / "evening.flac"
    signals.write(path, signals.music(30.0, 44_100), 44_100, "flac")
    return path


if __name__ == "__main__":
    sys.exit(main())
