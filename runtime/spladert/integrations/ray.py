"""Ray: `SparseEncode` for `Dataset.map_batches`, and a whole corpus with a record of its parts (`encode_corpus`).

Ray counts cores and does not say which, and every engine takes all that it sees: several on one machine would wait
for each other. So an actor takes as many cores as Ray reserved for it, keeps to them (`Cores`), and its threads do not
spin.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from ..bundle import open_bundle
from ..cluster import (
    ClusterJob,
    ClusterReport,
    Part,
    PartReport,
    begin,
    begun,
    encode_part,
    find_parts,
    pending,
    prepare_store,
    report_of,
    summarize,
)
from ..cluster.columns import encoded_columns
from ..cluster.cores import Cores
from ..cluster.job import RECORD
from ..cluster.parts import PART_BYTES
from ..cluster.rows import with_schema
from ..encoder import SparseEncoder
from ..engine import make_request
from ..errors import BundleError, DependencyError, InputError, SpladertError, StoreError
from ..files import Encoding, Fields
from ..pruning import Pruning
from ..stores import Connection, parse_store_url
from ..tokenizer import Side

GPUS = ("cuda", "tensorrt")  # devices of which a worker takes one
logger = logging.getLogger("spladert")
CONNECT_SECONDS = 10.0  # for a cluster's head to take a connection
ATTEMPTS = 4  # of a part: Ray tries for ever, and one that kills every worker must end the job


class SparseEncode:
    """A batch of rows in, the same with columns `indices` and `values` out, for `Dataset.map_batches`.

        dataset.map_batches(
            SparseEncode, fn_constructor_kwargs={"text": "body"}, batch_format="pyarrow", num_cpus=2, concurrency=4
        )

    A row whose text cannot be encoded (null, no string, not valid Unicode) has null in both, and the reason in the
    column `error`, null elsewhere. As many threads as Ray reserved cores (`num_cpus`), on cores of their own.
    """

    def __init__(
        self,
        bundle: str | None = None,
        *,
        text: str | tuple[str, ...] = "text",
        side: Side | None = "document",
        revision: str | None = None,
        variant: str | None = None,
        batch_size: int = 32,
        top_k: int | None = None,
        prune: str | None = None,
        max_length: int | None = None,
    ) -> None:
        """
        Args:
            bundle, revision, variant: as for `SparseEncoder.load`; every node must be able to open it.
            text: the text's column, or several, joined by a space.
            side, batch_size, top_k, prune, max_length: as for `SparseEncoder.encode`.

        Raises:
            BundleError, DeviceError, DependencyError, InputError: as `SparseEncoder.load`.
        """
        self._fields = Fields((text,) if isinstance(text, str) else tuple(text))
        self._how = Encoding(side, top_k, None if prune is None else Pruning.parse(prune), max_length)
        self._batch_size = batch_size
        self._encoder, self._cores = _encoder(bundle, revision, variant)

    def __call__(self, batch: Any) -> Any:
        """
        Args:
            batch: a pyarrow.Table.

        Raises:
            InputError: the text's column is missing, or one of those that are made is there already.
        """
        for name, column in encoded_columns(self._encoder, batch, self._fields, self._how, self._batch_size).items():
            batch = batch.append_column(name, column)
        return batch


def encode_corpus(
    job: ClusterJob,
    *,
    workers: int | None = None,
    threads: int = 1,
    part_bytes: int = PART_BYTES,
    kind: str | None = None,
    batch_size: int = 32,
    connection: Connection | None = None,
    overwrite: bool = False,
    advance: Callable[[int, int, int], None] = lambda done, parts, rows: None,
) -> ClusterReport:
    """Encode a corpus on the Ray cluster that RAY_ADDRESS names, or on this machine.

    After a stop of any kind the same call goes on: parts that are recorded as done are not done again.

    Args:
        job: what to encode, and where to.
        workers: actors; None is as many as the cluster's cores (GPUs, for a GPU) hold.
        threads: cores of an actor.
        part_bytes: about as many bytes of the input make a part.
        kind: of the input's files, where their endings do not say.
        batch_size: the most texts of a batch.
        connection: how a store is reached.
        overwrite: delete first what a job left in the output: its parts, errors and record. Other files stay.
        advance: called with parts done, parts in all, and rows done, after each part.

    Raises:
        InputError: the input or the output cannot be read or written, the output is another job's, a store is a file
            of this machine, nothing answers at RAY_ADDRESS, or this machine has no room for so many workers.
        BundleError: the bundle cannot be opened, is damaged, or has no such variant.
        DeviceError: this machine has no such device; not for a GPU, which the workers alone need.
        DependencyError: ray or pyarrow is not installed.
        StoreError: the store cannot be taken, or does not answer.
        SpladertError: a worker failed, and why.
    """
    ray = require_ray()
    if job.places.store is not None and parse_store_url(job.places.store).path is not None:
        raise InputError(f"{job.places.store} is a file of one process; give a server that all workers reach")
    bundle = open_bundle(job.bundle, revision=job.revision)
    variants = bundle.manifest.variants
    if job.variant is not None and not any(job.variant in (each.name, each.precision) for each in variants):
        have = ", ".join(each.name for each in variants)  # said here in a line, not by every worker
        raise BundleError(f"the bundle has no variant {job.variant!r}, it has {have}")
    if job.device not in GPUS:  # the driver's machine may have none
        # A bundle that is damaged is damaged for every worker.
        SparseEncoder.from_bundle(bundle, make_request(job.device, job.variant, None)).close()
    parts = find_parts(job.source, part_bytes, kind=kind)
    job = with_schema(job, parts)
    begin(job, bundle, parts, overwrite=overwrite)
    done = report_of(job, parts)
    left = pending(parts, done)
    now: list[PartReport] = []
    if left:
        gpu = job.device in GPUS
        count = _start(ray, gpu, workers, threads)
        if job.places.store is not None and not done:
            prepare = ray.remote(num_cpus=threads, num_gpus=1 if gpu else 0)(_prepare_store)
            if why := ray.get(prepare.remote(job, connection)):
                raise StoreError(why)
        how = {"job": job, "batch_size": batch_size, "connection": connection}
        for report in _run(ray, how, left, min(count, len(left)), threads, gpu=gpu):
            now.append(report)
            advance(len(done) + len(now), len(parts), sum(part.rows for part in (*done, *now)))
    whole = summarize([*done, *now], now)
    (job.output / RECORD / "report.json").write_json(asdict(whole))
    return whole


def _start(ray: Any, gpu: bool, workers: int | None, threads: int) -> int:
    """Start Ray where it is not, and give the number of actors.

    Raises:
        InputError: nothing answers at RAY_ADDRESS; or this machine alone has no room for them. A cluster may grow, so
            that Ray waits there.
    """
    alone = not ray.is_initialized() and not os.environ.get("RAY_ADDRESS")
    if not ray.is_initialized():
        _check_address(os.environ.get("RAY_ADDRESS", ""))
        # "local": by itself Ray would join what ran here last, and wait for a quarter of an hour if that has gone.
        ray.init("local" if alone else None, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    resources = ray.cluster_resources()
    room = int(resources.get("GPU", 0)) if gpu else int(resources.get("CPU", 0)) // threads
    count = workers or max(room, 1)
    if alone and count > room:
        what = "GPUs" if gpu else f"workers of {threads} threads"
        raise InputError(f"this machine has room for {room} {what}, and {count} are asked; RAY_ADDRESS names a cluster")
    return count


def _prepare_store(job: ClusterJob, connection: Connection | None) -> str | None:
    """Run where a worker would, whose device the driver's machine may lack: why the store cannot be taken, or None."""
    try:
        encoder, _ = _encoder(job.bundle, job.revision, job.variant, job.device)
        with encoder:
            prepare_store(encoder, job, connection or Connection())
    except SpladertError as error:
        return str(error)
    return None


def _check_address(address: str) -> None:
    """Look whether anything answers there, for Ray tries for minutes and says nothing.

    Raises:
        InputError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "auto" and the like, which Ray resolves
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"nothing answers at RAY_ADDRESS={address} ({error}): start the cluster, or unset it to take this machine"
        ) from None


def _run(
    ray: Any, how: dict[str, Any], parts: list[Part], count: int, threads: int, *, gpu: bool
) -> Iterator[PartReport]:
    """The parts through a pool of actors. A part is a row of a dataset; only its description and report move.

    `how` is what `_PartWorker` takes.
    """
    import ray.data

    for name in ("ray.data", "ray._common.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    dataset = ray.data.from_items([{"part": asdict(part)} for part in parts], override_num_blocks=len(parts))
    reports = dataset.map_batches(
        _PartWorker,
        fn_constructor_kwargs=how,
        batch_size=1,
        num_cpus=threads,
        num_gpus=1 if gpu else None,
        compute=ray.data.ActorPoolStrategy(size=count),
    )
    try:
        for row in reports.iter_rows():
            if row["error"] is not None:
                raise SpladertError(f"part {row['number']} ({row['path']}): {row['error']}")
            yield PartReport(**row["report"])
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise SpladertError(f"the cluster gave up: {reason}; the same command goes on with the parts left") from error


class _PartWorker:
    """An actor: loads the bundle once, and encodes a part a call."""

    def __init__(self, job: ClusterJob, batch_size: int, connection: Connection | None) -> None:
        self._job, self._batch_size, self._connection = job, batch_size, connection
        self._encoder, self._cores = _encoder(job.bundle, job.revision, job.variant, job.device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        part = Part(**batch["part"][0])
        report, error = None, None
        if begun(self._job, part) > ATTEMPTS:
            error = (
                f"its worker died {ATTEMPTS} times in a row, maybe for want of memory: a smaller --part-size may help"
            )
            return {"number": [part.number], "path": [part.path], "report": [None], "error": [error]}
        try:
            done = encode_part(self._encoder, self._job, part, batch_size=self._batch_size, connection=self._connection)
            report = asdict(done)
        except SpladertError as failure:  # to be said in one line, not as a trace of the cluster's
            error = str(failure)
        except Exception as failure:
            logger.exception("part %d", part.number)  # in the worker's log, where Ray keeps it
            error = f"{type(failure).__name__}: {failure}"
        return {"number": [part.number], "path": [part.path], "report": [report], "error": [error]}


def _encoder(
    bundle: str | None, revision: str | None, variant: str | None, device: str = "auto"
) -> tuple[SparseEncoder, Cores | None]:
    """The encoder of an actor, on cores of its own where Ray reserved whole ones."""
    ray = require_ray()
    assigned = ray.get_runtime_context().get_assigned_resources() if ray.is_initialized() else {}
    reserved = int(assigned.get("CPU", 0))
    cores = Cores(reserved) if reserved else None
    loaded = SparseEncoder.load(
        bundle,
        revision=revision,
        variant=variant,
        device=device,  # type: ignore[arg-type]  # of the command line, checked by `load`
        threads=max(reserved, 1),
        spin=False,
    )
    return loaded, cores


def require_ray() -> Any:
    """The ray module.

    Raises:
        DependencyError: it is not installed, or its data part is not.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise DependencyError(f"ray is missing ({error}): pip install 'spladert[ray]'") from error
    return ray
