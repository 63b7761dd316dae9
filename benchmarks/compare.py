"""Latency, throughput, memory and start-up of several engines on the same texts, each in processes of its own.

    python3 -m venv .venv-bench && .venv-bench/bin/pip install torch==2.13.0 -e '.[cpu,bench,peers]'
    python -m benchmarks.make_checkpoint CHECKPOINT
    spladert export CHECKPOINT BUNDLE --variant cpu-fp32 --variant cpu-int8 --variant cpu-int4 --allow-loss
    .venv-bench/bin/python -m benchmarks.compare CHECKPOINT BUNDLE --json benchmarks/results/cpu.json \
        --plots benchmarks/results

The environment of the peers is one of its own, since optimum's exporter needs transformers before version 5, and the
export of a bundle a later one. An engine that cannot run is listed with the reason.

Engines take turns, round by round, so that a slow minute of the machine touches all of them. A process loads one
engine, encodes a text (the cold start), and then every shape: a warm-up that is discarded, and calls for --seconds, at
least one. All get the same texts, threads and maximum length, and give the heaviest top_k ids and weights. The mix is
one pass over --mix-texts sentences, in a process of its own; engines that do not batch by themselves get 32 texts a
call, sorted by length, except the card's code, which gets them in their own order. The agreement is that of the ten
heaviest entries of 64 texts with the first engine's.

A newer Intel CPU can be held to an older instruction set, for every engine alike: benchmarks/cpumask.c says how.

--json FILE that exists already is continued if its settings are the same: rounds can be run in several calls, and with
other --engines, --shapes and --measures. benchmarks.difference puts two such files side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite.agreement import agreement
from benchmarks.suite.checkpoint import portable
from benchmarks.suite.engines import engine, engine_names, is_engine
from benchmarks.suite.plots import draw
from benchmarks.suite.processes import Launcher
from benchmarks.suite.results import summarize
from benchmarks.suite.tables import report
from benchmarks.suite.texts import make_workload
from benchmarks.suite.workload import SHAPES, Shape
from spladert import SpladertError
from spladert.bench.disturbance import disturbances, take_snapshot
from spladert.bench.machine import describe_machine
from spladert.bundle import open_bundle
from spladert.engine.machine import usable_cores

MEASURES = ("floors", "agreement", "shapes", "mix")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def new_results(args: argparse.Namespace) -> dict[str, Any]:
    """An empty results object, or what --json holds.

    Raises:
        SystemExit: the file's results were made with other settings or on another machine.
    """
    manifest = open_bundle(args.bundle).manifest
    variants = {variant.name: variant.files[0].sha256[:16] for variant in manifest.variants}
    settings = {
        "architecture": manifest.source.architecture,
        "parameters": manifest.source.parameters,
        "weights_sha256": manifest.source.weights_sha256[:16],
        "variants": variants,
        "threads": args.threads,
        "max_length": manifest.max_length,
        "top_k": manifest.top_k,
        "mix_texts": args.mix_texts,
        "held_to": os.environ.get("CPUMASK") if "cpumask" in os.environ.get("LD_PRELOAD", "") else None,
    }
    machine = describe_machine()
    if args.json and args.json.exists():
        found: dict[str, Any] = json.loads(args.json.read_text(encoding="utf-8"))
        for name, now in (("settings", settings), ("machine", machine)):
            differ = [key for key in {**now, **found[name]} if now.get(key) != found[name].get(key)]
            if differ:
                raise SystemExit(f"{args.json} was made with another {name} ({', '.join(differ)}): name a new file")
        return found
    return {
        "machine": machine,
        "settings": settings,
        "floors": None,
        "versions": {},
        "not_run": {},
        "agreement": {},
        "rounds": 0,
        "raw": {},
        "engines": {},
    }


def ready(launcher: Launcher, names: Sequence[str], content: dict[str, Any]) -> list[str]:
    """The engines that run here. Each is prepared (once: its files stay in the work folder) and tried."""
    able = []
    for name in names:
        made = Path(launcher.common["work"]) / f"{name.replace(' ', '-')}.made"
        result: dict[str, Any] = {}
        if engine(name).prepare is not None and not made.exists():
            say(f"prepare {name}")
            result = launcher.run("prepare", name)
            if not result:
                made.touch()
        result = result or launcher.run("check", name)
        reason = result.get("not_run") or result.get("failed")
        if reason:
            content["not_run"][name] = reason
            say(f"not run: {name}: {reason}")
            continue
        content["not_run"].pop(name, None)
        content["versions"][name] = result["versions"]
        able.append(name)
    return able


def measure(launcher: Launcher, task: str, name: str, content: dict[str, Any], **more: Any) -> None:
    """Run a task and keep its result, or the reason why it failed."""
    say(f"{task} {name}")
    result = launcher.run(task, name, **more)
    reason = result.get("not_run") or result.get("failed")
    if reason:
        content["not_run"][name] = f"{task}: {reason}"
    else:
        content["raw"].setdefault(name, {"shapes": [], "mix": []})[task].append(result)


def compare_vectors(launcher: Launcher, names: Sequence[str], content: dict[str, Any]) -> None:
    """Each engine's heaviest entries against the first one's."""
    reference = None
    for name in names:
        say(f"agreement {name}")
        result = launcher.run("agree", name)
        reason = result.get("not_run") or result.get("failed")
        if reason:
            content["not_run"][name] = f"agreement: {reason}"
            continue
        reference = reference or result["heaviest"]
        content["agreement"][name] = agreement(reference, result["heaviest"])


def finish(args: argparse.Namespace, content: dict[str, Any], order: Sequence[str]) -> None:
    """Figures out of the raw results; write them and the plots, print the table."""
    measured = sorted(content["raw"], key=lambda name: order.index(name) if name in order else len(order))
    content["engines"] = {
        name: summarize(name, content["raw"][name]["shapes"], content["raw"][name]["mix"], content) for name in measured
    }
    content["rounds"] = max((len(raw["shapes"]) for raw in content["raw"].values()), default=0)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(report(content))
    if args.plots:
        for path in draw(content, args.plots):
            say(f"wrote {path}")


def measure_all(args: argparse.Namespace, launcher: Launcher, able: Sequence[str], content: dict[str, Any]) -> None:
    """What --measures names, of the engines that run here."""
    if "floors" in args.measures:
        say("floors")
        content["floors"] = launcher.floors()
        if "failed" in content["floors"]:
            content["not_run"]["floors"] = content["floors"]["failed"]
            content["floors"] = None
    if "agreement" in args.measures:
        compare_vectors(launcher, able, content)
    if "shapes" in args.measures:
        shapes = [str(shape) for shape in args.shapes]
        for _ in range(args.rounds):
            for name in able:
                measure(launcher, "shapes", name, content, shapes=shapes, seconds=args.seconds)
    if "mix" in args.measures:
        for name in able:
            measure(launcher, "mix", name, content)


def main(args: argparse.Namespace) -> int:
    content = new_results(args)
    order = engine_names(args.bundle)
    chosen = args.engines.split(",") if args.engines else order
    if unknown := [name for name in chosen if not is_engine(name, order)]:
        raise SystemExit(f"no engine {unknown[0]!r}; there are: {', '.join(order)}")
    pythons = dict(item.split("=", 1) for item in args.python)
    work = args.work or args.bundle.with_name(f"{args.bundle.name}-peers")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        workload = Path(folder) / "workload.json"
        texts = make_workload(args.bundle, args.texts, args.shapes, mix_texts=args.mix_texts)
        workload.write_text(json.dumps(texts.to_dict(), ensure_ascii=False), encoding="utf-8")
        common = {
            "checkpoint": str(portable(args.checkpoint, work.resolve() / "checkpoint")),
            "bundle": str(args.bundle.resolve()),
            "work": str(work.resolve()),
            "workload": str(workload),
            "threads": args.threads,
            "max_length": content["settings"]["max_length"],
            "top_k": content["settings"]["top_k"],
        }
        launcher = Launcher(common, pythons)
        able = ready(launcher, chosen, content)
        before = take_snapshot()
        measure_all(args, launcher, able, content)
        found = [*content.get("warnings", []), *disturbances(before, take_snapshot())]
        content["warnings"] = list(dict.fromkeys(found))
    finish(args, content, order)
    return 0 if able else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=2, help="Of all shapes. Default 2.")
    parser.add_argument("--seconds", type=float, default=0.8, help="Of a shape in one process. Default 0.8.")
    parser.add_argument("--measures", type=_list_of(MEASURES), default=MEASURES, help=f"Of {', '.join(MEASURES)}.")
    parser.add_argument("--shapes", type=_shapes, default=SHAPES, help="Such as '1 x 8,8 x 256'. Default: 12 of them.")
    parser.add_argument(
        "--engines", help="Names with commas between, as 'pytorch,spladert cpu-int8 onnx'. Default: all."
    )
    parser.add_argument("--mix-texts", type=int, default=1000, help="Default 1000.")
    parser.add_argument("--threads", type=int, default=usable_cores()[0], help="Of every engine. Default: all cores.")
    shared = Path(os.environ.get("SPLADERT_SHARED", "../shared"))
    parser.add_argument("--texts", type=Path, default=shared / "data/sentences.txt", help="Sentences, one a line.")
    parser.add_argument("--work", type=Path, help="Folder for the peers' models. Default: beside the bundle.")
    parser.add_argument("--python", action="append", default=[], metavar="ENGINE=PY", help="Python of one engine.")
    parser.add_argument("--json", type=Path, help="Write figures and raw samples here, or go on with those here.")
    parser.add_argument("--plots", type=Path, help="Write the plots to this folder.")
    return parser.parse_args()


def _shapes(text: str) -> list[Shape]:
    try:
        return [Shape.parse(item) for item in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _list_of(allowed: Sequence[str]) -> Any:
    def convert(text: str) -> list[str]:
        items = text.split(",")
        if wrong := [item for item in items if item not in allowed]:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is none of {', '.join(allowed)}")
        return items

    return convert


if __name__ == "__main__":
    try:
        sys.exit(main(parse()))
    except SpladertError as error:
        raise SystemExit(f"error: {error}") from None
