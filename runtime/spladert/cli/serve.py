"""`spladert serve`: an HTTP server over a bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click

from ..serve import ServerOptions, serve
from .options import Runtime, runtime_options

Command = Callable[..., None]

DEFAULTS = ServerOptions()
POSITIVE = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0, min_open=True)


def _limit(name: str, kind: click.IntRange | click.FloatRange, help: str) -> Callable[[Command], Command]:
    """An option that is a field of `ServerOptions`."""
    flag = "--" + name.replace("_", "-")
    return click.option(flag, name, type=kind, default=getattr(DEFAULTS, name), show_default=True, help=help)


@click.command("serve")
@click.argument("bundle", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all of them.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 is any free one.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@_limit("max_wait_ms", click.FloatRange(min=0), "How long an idle engine waits for more texts.")
@_limit("max_queue", POSITIVE, "Most texts that wait; over it 429.")
@_limit("max_client_batch_size", POSITIVE, "Most texts of a request; over it 413.")
@_limit("max_text_length", POSITIVE, "Most characters of a text.")
@_limit("max_body", POSITIVE, "Most bytes of a request's body; over it 413.")
@_limit("timeout", SECONDS, "Seconds in which a request is answered, else 503.")
@_limit("receive_timeout", SECONDS, "Seconds in which a body arrives, else 408.")
@_limit("drain_timeout", SECONDS, "Seconds for what was accepted, after SIGTERM.")
@click.option(
    "--auto-truncate/--no-auto-truncate", default=True, show_default=True, help="/embed_sparse cuts long texts."
)
@click.option(
    "--api-key", envvar="SPLADERT_API_KEY", metavar="KEY", help="Wanted of clients. Better in SPLADERT_API_KEY."
)
@click.option(
    "--cors-origin", "cors_origins", multiple=True, metavar="ORIGIN", help="Pages of ORIGIN may call; repeatable."
)
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
    default="info",
    show_default=True,
    help="Texts are logged at none of them.",
)
@runtime_options
def serve_command(
    bundle: str | None, host: str, port: int, workers: int, log_level: str, runtime: Runtime, **limits: Any
) -> None:
    """Serve BUNDLE (a folder or a hub id; none means the one that comes with spladert) over HTTP.

    POST /embed_sparse, /tokenize and /decode as text-embeddings-inference has them, POST /v1/encode, GET /info,
    /health, /metrics, /openapi.json, and a page at /. SIGTERM finishes what was accepted.
    """
    options = ServerOptions(batch_size=runtime.batch_size, **limits)
    if workers > 1:  # a worker that ends because it cannot load it would be started again for ever
        runtime.load(bundle).close()
    serve(partial(runtime.load, bundle), options, host=host, port=port, workers=workers, log_level=log_level)
