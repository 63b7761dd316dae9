"""The record of a job in its output: what it is, cut into which parts, and a file for each part that is done."""

from __future__ import annotations

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ..bundle import Bundle
from ..errors import InputError
from ..files import Encoding, Fields
from ..passages import Passages
from .parts import Part
from .place import Place
from .report import PartReport

RECORD = "_spladert"  # names that begin with _ are no data to Spark, Arrow and Ray
ERRORS = "_errors"
PART_FILE = re.compile(r"\.?part-\d{6}\.(parquet|jsonl)(\..+)?")  # of data or errors, also half written
FACTS = {  # of a job that is another one, in a user's words where their names are none
    "places": "place of the input or output",
    "bundle": "model",
    "text": "field of the text",
    "id": "field of the id",
    "encoding": "option of the encoding",
    "passages": "option of the passages",
    "schema": "set of columns in the input",
    "cut": "size of the input's files or of a part",
    "parts": "size of the input's files or of a part",
}
READERS = 32  # of small files at a time: one after the other, tens of thousands from far away take half an hour


@dataclass(frozen=True)
class Places:
    """Where a job reads and writes; both as `Place` takes them.

    Attributes:
        source: the input's file or folder.
        output: the folder of the vectors, or, where they go to a store, of the record alone.
        store: URL of a store that takes the vectors instead.
    """

    source: str
    output: str
    store: str | None = None


@dataclass(frozen=True)
class ClusterJob:
    """What decides the output; only the same job goes on where an interrupted run stopped.

    Attributes:
        places: where it reads and writes.
        bundle, revision: the model, by a folder or hub id that every worker can open.
        device, variant: what to run it with; None is the best.
        format: "parquet" or "jsonl".
        text: names of the text's columns.
        id: name of the id's column, for a store or passages.
        encoding: how texts are encoded.
        passages: how documents are cut into passages, None where they are not.
        schema: the columns of JSON lines that become parquet, as Arrow's serialized schema in hexadecimal.
    """

    places: Places
    bundle: str | None = None
    revision: str | None = None
    device: str = "auto"
    variant: str | None = None
    format: Literal["parquet", "jsonl"] = "parquet"
    text: tuple[str, ...] = ("text",)
    id: str | None = None
    encoding: Encoding = field(default_factory=Encoding)
    passages: Passages | None = None
    schema: str | None = None

    @property
    def fields(self) -> Fields:
        return Fields(self.text, self.id)

    @property
    def source(self) -> Place:
        return Place.of(self.places.source)

    @property
    def output(self) -> Place:
        return Place.of(self.places.output)

    def facts(self, bundle: Bundle, parts: list[Part]) -> dict[str, Any]:
        """The job as JSON, the model and the parts by their hashes."""
        manifest = bundle.manifest
        model = [manifest.tokenizer.sha256, *(file.sha256 for variant in manifest.variants for file in variant.files)]
        facts = json.loads(json.dumps(asdict(self)))
        return {**facts, "model": _hash(model), "cut": _hash([asdict(part) for part in parts]), "parts": len(parts)}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def begin(job: ClusterJob, bundle: Bundle, parts: list[Part], *, overwrite: bool = False) -> None:
    """Record what the job is, or check that what an interrupted run left is the same.

    Raises:
        InputError: the output holds something else, or the input.
    """
    output, facts = job.output, job.facts(bundle, parts)
    below = [path for path, _ in output.below()]
    if below == [output.path]:
        raise InputError(f"{output} is a file, and the output is a folder; take another name")
    if held := next((part.path for part in parts if _is_in(part.path, output)), None):
        raise InputError(f"{output} holds the input {held}; take another folder for the output")
    record = output / RECORD / "job.json"
    if below and record.path not in below:
        advice = "take another folder" if overwrite else "--overwrite is only for a job's own, so take another folder"
        raise InputError(f"{output} has files already, and no job of a cluster made them; {advice}")
    if overwrite:
        _delete_parts(output, below)
    (output / RECORD / "attempts").delete()  # those of this run count
    left = record.read_json()
    if left is None:
        record.write_json(facts)
        return
    if differ := [name for name in facts if left.get(name) != facts[name]]:
        what = " and ".join(dict.fromkeys(FACTS.get(name, name) for name in differ))
        raise InputError(
            f"{output} was begun with another {what}: give the same again to finish it, or --overwrite to start over"
        )


def _is_in(path: str, folder: Place) -> bool:
    if folder.is_local:  # by whatever links it was named
        return os.path.realpath(path).startswith(os.path.realpath(folder.path) + os.sep)
    return path.startswith(f"{folder.path}/")


def _delete_parts(output: Place, below: list[str]) -> None:
    """Delete what a job left in its output, and nothing else; the record last, so that a stop leaves a job's folder."""
    with ThreadPoolExecutor(READERS) as pool:
        made = [path for path in below if PART_FILE.fullmatch(path.rpartition("/")[2])]
        list(pool.map(lambda path: Place(output.url, path).delete(), made))
    (output / RECORD).delete()


def _done_file(job: ClusterJob, part: int) -> Place:
    return job.output / RECORD / "parts" / f"{part:06}.json"


def record_done(job: ClusterJob, report: PartReport) -> None:
    """A part's data is written: say so, in one file that is there or not."""
    _done_file(job, report.part).write_json(asdict(report))


def begun(job: ClusterJob, part: Part) -> int:
    """Record that a part is begun; how often it was in this run, this time included."""
    place = job.output / RECORD / "attempts" / f"{part.number:06}.json"
    count = int(place.read_json() or 0) + 1
    place.write_json(count)
    return count


def report_of(job: ClusterJob, parts: list[Part]) -> list[PartReport]:
    """The reports of the parts that are done, and whose files are there as they were written."""
    sizes = dict(job.output.below())
    numbers = [part.number for part in parts if _done_file(job, part.number).path in sizes]
    with ThreadPoolExecutor(READERS) as pool:
        reports = pool.map(lambda number: PartReport(**_done_file(job, number).read_json()), numbers)
    return [each for each in reports if each.file is None or sizes.get((job.output / each.file).path) == each.bytes]


def pending(parts: list[Part], done: list[PartReport]) -> list[Part]:
    """The parts that are not done."""
    numbers = {report.part for report in done}
    return [part for part in parts if part.number not in numbers]
