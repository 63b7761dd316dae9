"""`spladert evaluate`: retrieval on a judged set, and the expansion of terms."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..evaluation import EvaluationReport, TermReport, evaluate, evaluate_terms, read_terms
from .options import Runtime, json_option, only_one, runtime_options, stderr_console, write_json
from .terminal import stdout_console

if TYPE_CHECKING:
    from rich.table import Table


@click.command("evaluate")
@click.argument("bundle", required=False)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    callback=only_one,
    metavar="FOLDER",
    help="A retrieval set in the BEIR layout: corpus.jsonl, queries.jsonl, qrels.tsv or qrels/test.tsv.",
)
@click.option(
    "--terms",
    "terms_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    callback=only_one,
    metavar="FILE",
    help='A term list: JSONL of {"term", "expected": [word, ...], "domain"}, or a .json object {term: [word, ...]}.',
)
@json_option
@runtime_options
def evaluate_command(
    bundle: str | None,
    data: Path | None,
    terms_path: Path | None,
    json_path: Path | None,
    runtime: Runtime,
) -> None:
    """Measure BUNDLE (a folder or a hub id; none means the one that comes with spladert).

    --data gives recall, MRR and nDCG of an exact sparse search, the active dimensions and FLOPS. --terms gives the
    share of expected words that are among a term's output tokens (a word of several tokens needs all of them), and how
    many terms come out as garbage: empty, or more than half of the ten heaviest tokens being special or unused tokens,
    punctuation, loose jamo, other scripts, or tokens that come out for most terms alike.
    """
    if data is None and terms_path is None:
        raise click.UsageError("give --data FOLDER, --terms FILE, or both")
    terms = read_terms(terms_path) if terms_path is not None else None
    encoder = runtime.load(bundle)
    facts: dict[str, Any] = {"source": encoder.manifest.source.id, "variant": encoder.variant.name}
    tables: list[tuple[str, Table]] = []
    if data is not None:
        show_progress = stderr_console().is_terminal
        report = evaluate(encoder, data, batch_size=runtime.batch_size, show_progress=show_progress)
        facts["retrieval"] = asdict(report)
        tables.append(_retrieval_table(report))
    if terms is not None:
        term_report = evaluate_terms(encoder, terms, batch_size=runtime.batch_size)
        facts["terms"] = asdict(term_report)
        tables.append(_term_table(term_report))
    _print(facts, tables, json_path)


def _print(facts: dict[str, Any], tables: list[tuple[str, Table]], json_path: Path | None) -> None:
    if write_json(facts, json_path):
        return
    console = stdout_console()
    for title, table in tables:
        console.print(title, style="bold")
        console.print(table)


def _retrieval_table(report: EvaluationReport) -> tuple[str, Table]:
    scores = report.scores
    return _table(
        f"{Path(report.data).name}: {scores.queries:,} queries, {scores.documents:,} documents, {report.variant}",
        [
            ("recall@1", f"{scores.recall_at_1:.4f}"),
            ("recall@5", f"{scores.recall_at_5:.4f}"),
            ("recall@10", f"{scores.recall_at_10:.4f}"),
            ("MRR@10", f"{scores.mrr_at_10:.4f}"),
            ("nDCG@10", f"{scores.ndcg_at_10:.4f}"),
            ("active dimensions, query", f"{scores.query_dimensions:.1f}"),
            ("active dimensions, document", f"{scores.document_dimensions:.1f}"),
            ("FLOPS", f"{scores.flops:.3f}"),
            ("encoding, queries", f"{report.encode_queries_seconds:.2f} s"),
            ("encoding, documents", f"{report.encode_documents_seconds:.2f} s"),
            ("search", f"{scores.search_seconds:.3f} s"),
        ],
    )


def _term_table(report: TermReport) -> tuple[str, Table]:
    rows = [("recall of expected words", f"{report.recall:.1%}")]
    rows += [(f"  {domain}", f"{recall:.1%}") for domain, recall in report.recall_by_domain.items()]
    rows += [
        ("garbage outputs", f"{report.garbage}/{len(report.results)}"),
        ("active dimensions, term", f"{report.dimensions:.1f}"),
    ]
    return _table(f"{len(report.results):,} terms", rows)


def _table(title: str, rows: list[tuple[str, str]]) -> tuple[str, Table]:
    from rich.table import Table

    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for row in rows:
        table.add_row(*row)
    return title, table
