"""The command line: `media-server serve | worker | transcode | probe | token | sign | verify | config |
doctor | schemas`.

One file a command; this one only names them.
"""

from __future__ import annotations

import typer

from media_server.cli.config import config
from media_server.cli.doctor import doctor
from media_server.cli.probe import probe
from media_server.cli.schemas import schemas
from media_server.cli.serve import serve, worker
from media_server.cli.sign import sign
from media_server.cli.token import token
from media_server.cli.transcode import transcode
from media_server.cli.verify import verify

app = typer.Typer(
    help="A streaming and transcoding media server for music. Settings come from the environment;"
    " `media-server config` shows them, config/media-server.env explains them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(worker)
app.command()(transcode)
app.command()(probe)
app.command()(token)
app.command()(sign)
app.command()(verify)
app.command()(config)
app.command()(doctor)
app.command()(schemas)
