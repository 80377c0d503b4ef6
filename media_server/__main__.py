"""`python -m media_server` and the console script `media-server`."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    # here: the process that a job's child is forked from imports this module too, and needs none of that
    from media_server.cli import app

    app(prog_name="media-server")


if __name__ == "__main__":
    main()
