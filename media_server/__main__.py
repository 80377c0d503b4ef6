"""`python -m media_server` and the console script `media-server`."""

from __future__ import annotations

from media_server.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="media-server")


if __name__ == "__main__":
    main()
