from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from spladert.bench.tables import milliseconds, show
from support.reports import REPORT

TABLES = """\
a-model (ModernBertForMaskedLM, 1,000,000 parameters), cpu-int8 on cpu by ONNX Runtime, 2 threads
a CPU (family 1, model 2; avx2), 2 cores; Linux; spladert 0.1.0, numpy 2.0

Latency of one text, ms
tokens   p50  p90       p99  calls
     8  1.25  2.5         4    200
    64    40  120  <= 1,234     20

Throughput, texts made up, of 8, 64 tokens in turn
texts a call  callers  texts/s  tokens/s
           1        1  1,234.5    44,442
           8        1  2,000.0    72,000

Peak memory, texts of 64 tokens
texts a call     MB
      loaded     90
           8  1,100

Since the start of a process
                 s
      import  0.20
        load  0.30
first vector  0.35
warning: other processes took 15% of the 2 cores' time
"""


def test_the_tables_have_every_figure_and_what_it_depends_on(capsys: pytest.CaptureFixture[str]) -> None:
    show(REPORT, Console(width=120, highlight=False))
    assert capsys.readouterr().out == TABLES


def test_threads_are_named_as_they_ran(capsys: pytest.CaptureFixture[str]) -> None:
    show(replace(REPORT, threads=None, spin=False), Console(width=120))
    assert "by ONNX Runtime, a thread a physical core that do not spin\n" in capsys.readouterr().out


def test_milliseconds_have_three_digits() -> None:
    assert [milliseconds(value) for value in (0.12345, 1.2345, 12.345, 123.45, 1234.5)] == [
        "0.123", "1.23", "12.3", "123", "1,234",
    ]  # fmt: skip
