"""Random command lines and files, from a seed: what users mistype and what files turn out to be."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import click

DEEP = "[" * 50_000
JUNK: list[Any] = [None, True, -1, 0, 10**30, 1.5, "", "x", "../x", "\0", [], [[]], {}, {"a": []}, ["x"], float("nan")]
WORDS = [  # without a NUL: no command line can have one
    "당뇨병 치료", "", " ", "a", "\udcff", "--", "-", "한글 " * 500, "😀", "[CLS]", "\ufeff", "\x1b[31m", "a\nb",
    "text", "id", "title", "--help", "--gone", "-x",
]  # fmt: skip
NUMBERS = ["1", "2", "3", "16", "0", "-1", "999999999999999999999", "1.5", "x", "", "1e9", "٣"]
GOOD = {  # of each ending, what a file with it should hold
    ".txt": ["당뇨병 치료", "", "plain", "😀"],
    ".jsonl": ['{"id": 1, "text": "당뇨병"}', '{"_id": "1", "title": "a", "text": ""}', '{"text": "x", "docid": -5}'],
    ".csv": ["text,id", "a,1", '"a\nb",2', ","],
    ".tsv": ["query-id\tcorpus-id\tscore", "q1\td1\t1", "q1\td2\t0"],
    ".terms": ['{"term": "고혈압", "expected": ["혈압"]}', '{"term": "", "expected": ["", "x"], "domain": "d"}'],
    ".json": ['{"고혈압": ["혈압", "약"], "x": ["y"]}'],
}
BAD = [
    '{"text": 5}',
    '{"text": "\\ud800"}',
    '{"id": ' + "9" * 5000 + ', "text": "a"}',
    '{"id": {}, "text": "a"}',
    "[]",
    '{"text": ',
    DEEP,
    '{"text": ' + DEEP + "}",
    "text,text",
    '"a"b,c',
    "q1\t0\td1\t1",
    "q1\td1\t--5",
    "q1\td1\t" + "9" * 5000,
    '{"term": [], "expected": "x"}',
    '{"x": {}}',
]
CONFIGURATIONS = [
    "",
    DEEP,
    "[]",
    "{}",
    '{"model_type": 5}',
    '{"model_type": "bert"}',
    '{"model_type": "modernbert", "vocab_size": -1}',
    '{"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": "x"}',
    '{"model_type": "gone", "auto_map": {"AutoConfig": "x.Y"}}',
]
ENDINGS = [*GOOD, ".parquet", ".jsonl.gz", ".csv.GZ", ".txt.zst", ".xyz", ""]
OUTPUTS = [
    "out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out.parquet", "out.npz", "out.csv", "out", "out/", "there", "there/",
    "-", "/dev/null", "/dev/fd/1000000", "nowhere/out.jsonl", "", ".", "..", "/", "x" * 300 + ".jsonl",
    "loop.jsonl", "dangling.jsonl", "\udcff.jsonl", "out.jsonl/", "report.json", "plot.svg", "plot.png",
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A command line and what is on its standard input."""

    arguments: list[str]
    stdin: bytes


class CommandFuzz:
    """Makes cases whose files are in the current folder, which it may fill.

    No case names a plausible hub id, a checkpoint that can be exported or a bundle to bench or serve: those take long.
    """

    def __init__(self, group: click.Group, bundle: Path, seed: int) -> None:
        """
        Args:
            group: the command line.
            bundle: an intact bundle.
            seed: equal ones give equal cases.
        """
        self._group = group
        self._context = click.Context(group)
        self._bundle = bundle
        self._random = Random(seed)
        self._files = 0
        Path("there").mkdir(exist_ok=True)
        for link, target in (("loop.jsonl", "loop.jsonl"), ("dangling.jsonl", "gone/out.jsonl")):
            if not Path(link).is_symlink():
                Path(link).symlink_to(target)

    def case(self) -> Case:
        name = self._random.choice(
            [*self._group.list_commands(self._context), *["encode"] * 8, "evaluate", "inspect", "index"]
        )
        command = self._group.get_command(self._context, name)
        assert command is not None
        options = [param for param in command.params if isinstance(param, click.Option)]
        chosen = self._random.sample(options, min(self._random.choice([0, 0, 0, 1, 1, 2, 4]), len(options)))
        arguments = [part for option in chosen for part in self._option(option)]
        makers = {"encode": self._encode, "evaluate": self._evaluate, "index": self._index, "search": self._search}
        arguments += makers[name]() if name in makers else self._other(name)
        if self._chance(0.05):
            arguments.insert(self._random.randrange(len(arguments) + 1), self._word())
        return Case([name, *arguments], self._content(self._random.choice(list(GOOD))))

    def _encode(self) -> list[str]:
        model = ["--model", self._some_bundle()] if self._chance(0.95) else []
        if self._chance(0.3):
            return [*model, *(self._word() for _ in range(self._random.randrange(4)))]
        arguments = ["--input", "-" if self._chance(0.2) else self._file()]
        if self._chance(0.6):
            arguments += ["--output", self._random.choice([*OUTPUTS, "/dev/full"])]
        return [*model, *arguments, *(flag for flag in ("--overwrite", "--skip-errors") if self._chance(0.6))]

    def _evaluate(self) -> list[str]:
        arguments = ["--data", self._dataset()] if self._chance(0.6) else []
        if self._chance(0.6):
            arguments += ["--terms", self._file([".terms", ".terms", ".json", ".xyz"])]
        return [*arguments, self._some_bundle()]

    def _index(self) -> list[str]:
        model = ["--model", self._some_bundle()] if self._chance(0.95) else []
        return [*model, self._file(), self._some_index()]

    def _search(self) -> list[str]:
        where = self._some_index() if self._chance(0.8) else self._random.choice([self._word(), "nowhere://h/a"])
        return [where, *([self._word()] if self._chance(0.7) else [])]

    def _some_index(self) -> str:
        return self._random.choice(["index", "index", "index2", "there", "gone/index", *OUTPUTS])

    def _other(self, name: str) -> list[str]:
        makes = [self._file, self._broken_bundle] if name in ("inspect", "build") else [self._file]
        return [self._random.choice(makes)() for _ in range(self._random.choice([1, 1, 2]))]

    def _export(self) -> list[str]:
        return [self._checkpoint(), self._random.choice(["made", "there", "dangling.jsonl", self._file()])]

    def _verify(self) -> list[str]:
        return [self._some_bundle(), "--against", self._checkpoint(), "--texts", self._file()]

    def _checkpoint(self) -> str:
        """A folder that is no checkpoint: its configuration is junk, or it has nothing else."""
        if self._chance(0.2):
            return self._file()
        folder = self._path()
        folder.mkdir()
        (folder / "config.json").write_text(self._random.choice(CONFIGURATIONS), encoding="utf-8")
        return str(folder)

    def _option(self, option: click.Option) -> list[str]:
        name = self._random.choice(option.opts + option.secondary_opts)
        if option.is_flag:
            return [name]
        kind = option.type
        if isinstance(kind, click.Choice) and self._chance(0.9):
            return [name, str(self._random.choice(kind.choices))]
        if kind.name in ("integer", "integer range", "float", "float range"):
            return [name, self._random.choice(NUMBERS[:4] if self._chance(0.6) else NUMBERS)]
        values: list[Callable[[], str]] = [self._word, self._file, lambda: self._random.choice(OUTPUTS)]
        return [name, self._random.choice(values)()]

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _word(self) -> str:
        return self._random.choice([*WORDS, *NUMBERS])

    def _path(self, ending: str = "") -> Path:
        self._files += 1
        strange = self._random.choice(["", "", "", " ", "\n", "가", "\udcff", "-"])
        return Path(f"{strange}{self._files}{ending}")

    def _file(self, endings: Sequence[str] = ENDINGS) -> str:
        if self._chance(0.1):
            return self._random.choice(["gone.txt", "there", "loop.jsonl", "dangling.jsonl", "/dev/null", ""])
        ending = self._random.choice(endings)
        path = self._path(ending)
        path.write_bytes(self._content(ending))
        return str(path)

    def _content(self, ending: str) -> bytes:
        """What a file of this ending holds, more often than not."""
        if ending == ".parquet":
            content = self._parquet()
        else:
            inner = ending.lower().removesuffix(".gz").removesuffix(".zst")
            good = GOOD.get(inner, GOOD[".txt"])
            lines = [*good, *([self._random.choice(BAD)] if self._chance(0.4) else [])]
            end = self._random.choice(["\n", "\n", "\r\n", "\r"])
            encoding = self._random.choice([*["utf-8"] * 8, "utf-8-sig", "utf-16", "cp949"])
            content = end.join(lines).encode(encoding, "ignore")
        if self._chance(0.1):
            content = self._random.randbytes(200)
        if ending.lower().endswith(".gz") and self._chance(0.9):
            content = gzip.compress(content)
        return self._damaged(content) if self._chance(0.15) else content

    def _parquet(self) -> bytes:
        import pyarrow
        import pyarrow.parquet

        columns = {
            "text": self._random.choice([["가", "", None], [1, 2, 3], [["a"], [], None], [b"\xff", b"a", b""]]),
            "id": self._random.choice([[1, 2, 3], ["a", "b", None], [1.5, 2.5, 3.5], [{"a": 1}, None, {"a": 2}]]),
        }
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), sink)
        return bytes(sink.getvalue().to_pybytes())

    def _damaged(self, content: bytes) -> bytes:
        at = self._random.randrange(len(content) + 1)
        return self._random.choice(
            [
                content[:at],
                content[:at] + self._random.randbytes(3) + content[at + 3 :],
                content[at:],
                content + content,
            ]
        )

    def _dataset(self) -> str:
        if self._chance(0.1):
            return self._file()
        folder = self._path()
        folder.mkdir()
        files = {
            "corpus.jsonl": '{"_id": "d1", "title": "", "text": "당뇨병 치료"}\n{"_id": "d2", "text": "계약서"}\n',
            "queries.jsonl": '{"_id": "q1", "text": "당뇨병"}\n',
            "qrels.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t1\n",
        }
        for name, content in files.items():
            if self._chance(0.95):
                raw = content.encode()
                broken = self._random.choice([self._damaged(raw), raw + self._random.choice(BAD).encode()])
                (folder / name).write_bytes(broken if self._chance(0.2) else raw)
        return str(folder)

    def _some_bundle(self) -> str:
        return str(self._bundle) if self._chance(0.8) else self._broken_bundle()

    def _broken_bundle(self) -> str:
        if self._chance(0.2):
            return self._file()
        folder = self._path()
        shutil.copytree(self._bundle, folder)
        manifest = json.loads((folder / "spladert.json").read_text(encoding="utf-8"))
        self._mutate(manifest)
        broken = {
            "spladert.json": self._random.choice([json.dumps(manifest).encode()] * 5 + [b"", DEEP.encode()]),
            "tokenizer.json": self._random.choice([b"", b"\xff", DEEP.encode(), b"{}"]),
        }
        name = self._random.choice(["spladert.json", "spladert.json", "spladert.json", "tokenizer.json"])
        (folder / name).unlink()
        (folder / name).write_bytes(broken[name])
        return str(folder)

    def _mutate(self, value: Any) -> None:
        """Put junk somewhere into a JSON value."""
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = self._random.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and self._chance(0.7):
            self._mutate(value[key])
        elif isinstance(value, dict) and self._chance(0.2):
            del value[key]
        else:
            value[key] = self._random.choice(JUNK)
