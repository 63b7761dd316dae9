"""The server's processes: where they listen, and how they end."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Callable
from functools import partial

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from ..encoder import SparseEncoder
from ..errors import InputError
from .app import create_app
from .options import ServerOptions
from .protocol import GuardedProtocol

STARTING = 60  # seconds that a worker may take for its imports and its model before it is taken for stuck
KEEP_ALIVE = 75  # seconds that an idle connection stays, longer than the minute of common proxies


def serve(
    load: Callable[[], SparseEncoder],
    options: ServerOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    log_level: str = "info",
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Args:
        load: makes the encoder, once in each worker; picklable where there are several.
        options: of the server.
        host, port: where to listen; port 0 is any free one.
        workers: processes, each with an encoder and a queue of its own.
        log_level: uvicorn's.

    Raises:
        InputError: the address cannot be used.
    """
    options = options or ServerOptions()
    if workers == 1:
        with load() as encoder:  # before the address is taken, which says that the server runs
            config = _config(partial(create_app, encoder, options), options, host, port, log_level)
            uvicorn.Server(config).run([_listen(config)])
        return
    with tempfile.TemporaryDirectory(prefix="spladert-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by prometheus_client in each worker
        config = _config(partial(make_app, load, options), options, host, port, log_level, workers)
        Multiprocess(config, [_listen(config)]).run()


def _config(
    app: Callable[[], FastAPI], options: ServerOptions, host: str, port: int, log_level: str, workers: int = 1
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=True,
        host=host,
        port=port,
        http=GuardedProtocol,
        ws="none",
        workers=workers,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_worker_healthcheck=STARTING,
        timeout_graceful_shutdown=max(int(options.drain_timeout), 1),
        log_level=log_level,
        access_log=False,
        server_header=False,
    )


def _listen(config: uvicorn.Config) -> socket.socket:
    logger = logging.getLogger("uvicorn.error")
    logger.addFilter(_is_no_error)  # what it would log is said below
    try:
        return config.bind_socket()
    except (OSError, SystemExit, TypeError, UnicodeError) as error:  # uvicorn exits; the last two: no name of a host
        raise InputError(
            f"cannot listen on {config.host} port {config.port}: it is in use, or not an address of this host"
        ) from error
    finally:
        logger.removeFilter(_is_no_error)


def _is_no_error(record: logging.LogRecord) -> bool:
    return record.levelno < logging.ERROR


def make_app(load: Callable[[], SparseEncoder], options: ServerOptions) -> FastAPI:
    """The app of one worker over an encoder of its own."""
    return create_app(load(), options)
