"""`measure`: latency, throughput, start and memory of a bundle on this machine, each in processes of their own."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .. import errors
from ..bundle import Bundle
from ..engine import PlacementRequest, RuntimeOptions, candidates, this_machine
from ..errors import InputError, SpladertError
from ..tokenizer import check_texts, load_tokenizer
from .disturbance import busy_before, disturbances, take_snapshot
from .machine import describe_machine, versions
from .processes import run_task
from .report import Latency, Memory, Report, Start, Throughput
from .samples import p99, percentile
from .texts import make_texts

SHORTEST = 8  # tokens of the shortest texts
TEXTS_OF_A_LENGTH = 16
PACKAGES = ("spladert", "spladert-kernels", "onnxruntime", "onnxruntime-gpu", "tokenizers", "numpy")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Attributes:
        lengths: tokens of the texts whose latency is measured; empty for 8, 16, 32 and so on to the bundle's maximum.
        batch_sizes: texts of a call, for throughput and memory.
        callers: threads that call at once, for throughput.
        seconds: of each latency and each throughput, about.
        starts: processes whose start is measured.
    """

    lengths: tuple[int, ...] = ()
    batch_sizes: tuple[int, ...] = (1, 8, 32, 128)
    callers: tuple[int, ...] = (1, 2, 4)
    seconds: float = 2.0
    starts: int = 3


@dataclass(frozen=True)
class Workload:
    """The texts of a measurement.

    Attributes:
        by_length: by their number of tokens.
        longest: texts of the bundle's maximum length.
        mix: texts of the throughput, in their order.
        name: what the mix is.
    """

    by_length: dict[int, list[str]]
    longest: list[str]
    mix: list[str]
    name: str


def measure(
    bundle: Bundle,
    request: PlacementRequest,
    options: RuntimeOptions,
    settings: Settings,
    texts: Sequence[str] | None = None,
    say: Say = lambda line: None,
) -> Report:
    """Measure a bundle with the variant and device that `SparseEncoder.load` would take.

    Args:
        bundle: what is measured.
        request: device, variant and providers.
        options: threads of a batch, and their spinning.
        settings: lengths, batch sizes and callers.
        texts: of the throughput, in their order; None makes texts of all lengths.
        say: told what comes next, and at once what disturbs.

    Raises:
        BundleError, DeviceError, DependencyError: as `SparseEncoder.load`.
        InputError: there are no texts, or none of a wanted length can be made.
        SpladertError: a process ended before its task.
    """
    manifest = bundle.manifest
    # What cannot run is an error before anything is measured.
    candidates(manifest, request, this_machine(request), isa=options.isa)
    workload = make_workload(bundle, settings.lengths, texts)
    tasks = Tasks(bundle, request, options)

    before = take_snapshot()
    warnings = busy_before(before)
    for warning in warnings:
        say(f"warning: {warning}")
    started = _starts(tasks, workload, settings, say)
    latency = _latency(tasks, workload, settings, say)
    throughput = _throughput(tasks, workload, settings, say)
    memory = _memory(tasks, workload, settings, say)
    for warning in disturbances(before, take_snapshot()):
        warnings.append(warning)
        say(f"warning: {warning}")

    seconds = [one["seconds"] for one in started]
    return Report(
        source=manifest.source.id,
        architecture=manifest.source.architecture,
        parameters=manifest.source.parameters,
        max_length=manifest.max_length,
        variant=started[0]["variant"],
        device=started[0]["device"],
        runs_on=started[0]["runs_on"],
        threads=started[0]["threads"],
        spin=options.spin,
        machine=describe_machine(),
        versions=versions(PACKAGES),
        mix=workload.name,
        latency=latency,
        throughput=throughput,
        start=Start(**{name: statistics.median(one[name] for one in seconds) for name in seconds[0]}),
        memory=memory,
        warnings=tuple(warnings),
    )


def make_workload(bundle: Bundle, lengths: Sequence[int], texts: Sequence[str] | None) -> Workload:
    """The texts to measure a bundle with.

    Raises:
        BundleError: the tokenizer is missing or altered.
        InputError: there are no texts, or none of a wanted length can be made.
    """
    longest = bundle.manifest.max_length
    if beyond := [length for length in lengths if length > longest]:
        raise InputError(f"a text of {beyond[0]} tokens is beyond this bundle's max_length, {longest}")
    tokenizer = load_tokenizer(bundle.tokenizer_json(), longest)
    by_length = {n: make_texts(tokenizer, n, TEXTS_OF_A_LENGTH) for n in lengths or _doubling(longest)}
    if texts is None:
        name = f"made up, of {', '.join(map(str, by_length))} tokens in turn"
        mix = [text for turn in zip(*by_length.values(), strict=True) for text in turn]
    else:
        name, mix = f"{len(texts):,} texts of the caller's", check_texts(texts)
        if not mix:
            raise InputError("there are no texts; give at least one")
    return Workload(by_length, make_texts(tokenizer, longest, TEXTS_OF_A_LENGTH), mix, name)


@dataclass(frozen=True)
class Tasks:
    """Runs the worker's tasks on one bundle."""

    bundle: Bundle
    request: PlacementRequest
    options: RuntimeOptions

    def run(self, task: str, **more: Any) -> dict[str, Any]:
        """The task's result, of a process of its own.

        Raises:
            SpladertError: the one that the worker ran into, or that its process failed.
        """
        spec = {
            "task": task,
            "bundle": str(self.bundle.path.absolute()),
            "request": asdict(self.request),
            "options": asdict(self.options),
            **more,
        }
        result = run_task("spladert.bench.worker", spec)
        if "error" in result:
            name, message = result["error"]
            raise getattr(errors, name, SpladertError)(message)  # a package's own class is this one's subclass
        if "failed" in result:
            raise SpladertError(f"the process that measured {task} failed: {result['failed']}")
        return result


def _starts(tasks: Tasks, workload: Workload, settings: Settings, say: Say) -> list[dict[str, Any]]:
    say(f"start, {settings.starts} times")
    text = workload.longest[0]
    tasks.run("start", text=text)  # brings the files into the page cache
    return [tasks.run("start", text=text) for _ in range(settings.starts)]


def _latency(tasks: Tasks, workload: Workload, settings: Settings, say: Say) -> tuple[Latency, ...]:
    say(f"latency of texts of {', '.join(map(str, workload.by_length))} tokens")
    samples = tasks.run("latency", by_length=workload.by_length, seconds=settings.seconds)["samples_ms"]
    return tuple(
        Latency(
            tokens=int(tokens),
            p50_ms=statistics.median(taken),
            p90_ms=percentile(taken, 0.9),
            p99_ms=p99(taken),
            max_ms=max(taken),
            calls=len(taken),
        )
        for tokens, taken in samples.items()
    )


def _throughput(tasks: Tasks, workload: Workload, settings: Settings, say: Say) -> tuple[Throughput, ...]:
    say(f"throughput of {', '.join(map(str, settings.batch_sizes))} texts a call")
    what = {"batch_sizes": settings.batch_sizes, "callers": settings.callers, "seconds": settings.seconds}
    return tuple(Throughput(**rate) for rate in tasks.run("throughput", texts=workload.mix, **what)["rates"])


def _memory(tasks: Tasks, workload: Workload, settings: Settings, say: Say) -> tuple[Memory, ...]:
    say(f"memory of {', '.join(map(str, settings.batch_sizes))} texts a call")
    longest, sizes = workload.longest, (0, *settings.batch_sizes)
    calls = ([longest[i % len(longest)] for i in range(size)] for size in sizes)
    return tuple(
        Memory(size, tasks.run("memory", texts=texts)["peak_mb"]) for size, texts in zip(sizes, calls, strict=True)
    )


def _doubling(longest: int) -> Iterator[int]:
    """8, 16, 32 and so on below `longest`, and `longest`."""
    length = SHORTEST
    while length < longest:
        yield length
        length *= 2
    yield longest
