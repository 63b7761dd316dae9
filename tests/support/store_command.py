"""Documents in a store by the command line, and what it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from spladert.cli import main

WORDS = [
    "당뇨병",
    "치료",
    "손해배상",
    "소송",
    "날씨",
    "기온",
    "헌법",
    "인슐린",
    "계약서",
    "약관",
    "비빔밥",
    "전세",
    "국가",
]
DOCUMENTS: list[dict[str, Any]] = [
    {"_id": f"문서 {n}", "text": " ".join([WORDS[n % 13], WORDS[n * 7 % 11], WORDS[n * 3 % 5], str(n)]), "number": n}
    for n in range(100)
]
QUESTIONS = ["당뇨병 치료", "국가의 손해배상", "전세 계약서 약관", "오늘 날씨"]
LONG = "서울의 오늘 날씨는 맑다. 기온은 영상 이십 도까지 오른다. " * 12 + "당뇨병 치료에는 식이요법이 중요하다."


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--threads", "1", "--no-spin"])


def write(path: Path, *documents: dict[str, Any] | str) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in documents]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def encode(path: Path, store: str, *options: str, status: int = 0) -> Result:
    done = run("encode", "--input", str(path), "--output", store, *options)
    assert done.exit_code == status, done.output
    return done


def ask(store: str, question: str, *options: str) -> list[dict[str, Any]]:
    done = run("search", store, question, "--json", "-", *options)
    assert done.exit_code == 0, done.output
    hits: list[dict[str, Any]] = json.loads(done.stdout)["hits"]
    return hits
