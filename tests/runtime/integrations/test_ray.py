"""A real Ray cluster of two nodes on this machine, and S3 by moto's server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from spladert import SparseEncoder
from spladert.bundle import open_bundle
from spladert.cli import main
from spladert.cluster import ClusterJob, Places
from spladert.errors import BundleError, InputError, SpladertError
from spladert.integrations.ray import SparseEncode, encode_corpus

pa = pytest.importorskip("pyarrow", reason="needs the ray extra: pip install 'spladert[ray]'")
pytest.importorskip("pyarrow.parquet")
ray = pytest.importorskip("ray", reason="needs the ray extra: pip install 'spladert[ray]'")

TEXTS = [f"당뇨병 치료 {n} 계약서" for n in range(400)]


@pytest.fixture(scope="module")
def cluster(ray_alone: None) -> Iterator[str]:
    """Its address; two nodes of one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 * 2**20})
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    try:
        yield made.address
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "in" / "lang=ko"
    folder.mkdir(parents=True)
    table = pa.table({"id": list(range(len(TEXTS))), "text": [*TEXTS[:-1], None], "when": [1.5] * len(TEXTS)})
    pa.parquet.write_table(table, folder / "a.parquet", row_group_size=50)
    return tmp_path / "in"


def rows_of(output: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(output.rglob("*.parquet")) for row in pa.parquet.ParquetFile(path).read().to_pylist()
    ]


def check(output: Path, tiny_bundle: Path) -> None:
    rows = rows_of(output)
    assert [row["id"] for row in rows] == list(range(len(TEXTS) - 1))
    with SparseEncoder.load(tiny_bundle) as encoder:
        expected = encoder.encode_document(TEXTS[:-1])
    assert [row["indices"] for row in rows] == [vector.indices.tolist() for vector in expected]
    [error] = [json.loads(line) for path in (output / "_errors").iterdir() for line in path.open()]
    assert error["error"] == "field 'text' holds a null instead of a string"


def job_of(corpus: Path, output: Path, tiny_bundle: Path) -> ClusterJob:
    from spladert.files import Encoding

    return ClusterJob(Places(str(corpus), str(output)), str(tiny_bundle), encoding=Encoding("document"))


def test_a_worker_that_is_killed_costs_nothing(cluster: str, corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    output = tmp_path / "out"
    killed: list[int] = []

    def kill_one(done: int, parts: int, rows: int) -> None:
        if not killed:
            [report] = [json.loads(p.read_bytes()) for p in sorted((output / "_spladert" / "parts").iterdir())[:1]]
            killed.append(int(report["worker"].rpartition(":")[2]))
            os.kill(killed[0], signal.SIGKILL)

    report = encode_corpus(job_of(corpus, output, tiny_bundle), part_bytes=3000, workers=1, advance=kill_one)
    assert killed
    assert report.parts > 3
    assert (report.rows, report.rejected) == (len(TEXTS) - 1, 1)
    assert len(report.rates) >= 2  # the one that was killed, and its successor
    check(output, tiny_bundle)
    again = encode_corpus(job_of(corpus, output, tiny_bundle), part_bytes=3000)
    assert (again.resumed, again.rates) == (report.parts, {})


def test_the_command_says_what_it_did(cluster: str, tmp_path: Path, tiny_bundle: Path) -> None:
    long = "서울의 오늘 날씨는 맑다. 기온은 영상 이십 도까지 오른다. " * 16
    rows = [{"id": 1, "text": long}, {"id": "x", "text": "가"}, *({"id": n, "text": "나"} for n in range(2, 30))]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["encode", "--engine", "ray", "--workers", "1", "--model", str(tiny_bundle)]
    command += ["--input", str(tmp_path / "a.jsonl")]

    def run(*options: str) -> Result:
        return CliRunner().invoke(main, [*command, *options])

    done = run("--output", str(tmp_path / "out"))
    assert done.exit_code == 3, done.output
    assert "29 rows" in done.stderr
    assert "1 row was left out" in done.stderr
    again = run("--output", str(tmp_path / "out"), "--skip-errors")
    assert again.exit_code == 0
    assert "1 part," in again.stderr
    assert "it was whole already, and nothing was done" in again.stderr
    assert "interrupted" not in again.stderr
    passages = run("--output", str(tmp_path / "passages"), "--passages", "--format", "jsonl")
    assert passages.exit_code == 0, passages.output
    lines = [json.loads(line) for path in (tmp_path / "passages").glob("*.jsonl") for line in path.open()]
    assert f"{len(lines)} passages" in passages.stderr
    assert [line["id"] for line in lines if line["id"] in ("1#0", "1#1", "x#0")] == ["1#0", "1#1", "x#0"]
    assert "--id-field is for a store, or --passages" in run("--output", "x", "--id-field", "id").stderr


def test_rows_that_are_left_out_end_the_command_by_status_3(
    cluster: str, corpus: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "encode", "--engine", "ray"]
    command += ["--model", str(tiny_bundle), "--input", str(corpus), "--output", str(tmp_path / "out")]
    for options, status in (((), 3), (("--skip-errors",), 0)):
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            env={**os.environ, "RAY_ADDRESS": cluster},
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert "1 row was left out, see" in done.stderr


def test_map_batches(cluster: str, tiny_bundle: Path) -> None:
    dataset = ray.data.from_arrow(pa.table({"id": [1, 2, 3], "body": ["당뇨병", None, "계약서"]}))
    encoded = dataset.map_batches(
        SparseEncode,
        fn_constructor_kwargs={"bundle": str(tiny_bundle), "text": "body"},
        batch_format="pyarrow",
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=1),
    )
    rows = sorted(encoded.take_all(), key=lambda row: row["id"])
    with SparseEncoder.load(tiny_bundle) as encoder:
        assert list(rows[0]["indices"]) == encoder.encode_document("당뇨병").indices.tolist()
    assert rows[1]["indices"] is None
    assert rows[1]["error"] == "field 'body' holds a null instead of a string"
    assert rows[2]["error"] is None


def test_what_a_worker_says_is_one_sentence(cluster: str, corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    from dataclasses import replace

    job = replace(job_of(corpus, tmp_path / "out", tiny_bundle), text=("body",))
    with pytest.raises(SpladertError, match=r"part \d+ \(.*a\.parquet\): there is no column 'body'; there are: 'id'"):
        encode_corpus(job)
    with pytest.raises(InputError, match="has no file"):
        encode_corpus(replace(job, places=Places(str(tmp_path / "gone"), str(tmp_path / "o"))))
    with pytest.raises(BundleError, match="no variant 'nope', it has"):
        encode_corpus(replace(job, variant="nope", places=Places(str(corpus), str(tmp_path / "o"))))
    store = f"qdrant://{tmp_path}/q?collection=docs"
    with pytest.raises(InputError, match="is a file of one process"):
        encode_corpus(replace(job, places=Places(str(corpus), str(tmp_path / "o"), store)))
    assert not (tmp_path / "o").exists()
    (tmp_path / "out" / "_spladert" / "job.json").write_text("{")
    with pytest.raises(InputError, match=r"job\.json is damaged .* --overwrite starts over"):
        encode_corpus(job)


def test_a_cut_bundle_is_told_before_anything_begins(corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    cut = Path(shutil.copytree(tiny_bundle, tmp_path / "cut"))
    graph = open_bundle(cut).manifest.variants[0].files[0].name
    os.truncate(cut / graph, 1000)
    job = job_of(corpus, tmp_path / "out", cut)
    with pytest.raises(BundleError, match=r"has 1000 bytes instead of \d+: truncated or altered"):
        encode_corpus(job)
    assert not (tmp_path / "out").exists()


def test_s3(cluster: str, corpus: Path, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[s3,server]'")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        query = f"?scheme=http&endpoint_override={host}:{port}&allow_bucket_creation=true"
        at = "s3://key:secret@bucket"
        from spladert.cluster.place import Place

        bucket = Place.of(f"{at}{query}")
        bucket.files.create_dir("bucket")
        (Place.of(f"{at}/in/lang=ko{query}") / "a.parquet").take(corpus / "lang=ko" / "a.parquet")
        job = ClusterJob(Places(f"{at}/in{query}", f"{at}/out{query}"), str(tiny_bundle))
        report = encode_corpus(job, part_bytes=20_000, workers=1)
        assert (report.rows, report.rejected) == (len(TEXTS) - 1, 1)
        output = Place.of(f"{at}/out{query}")
        parts = [path for path, _ in output.below() if path.endswith(".parquet")]
        assert parts
        assert all(path.startswith("bucket/out/lang=ko/part-") for path in parts)
        assert encode_corpus(job, part_bytes=20_000).resumed == report.parts
        (output / "notes.md").write(b"mine")
        assert encode_corpus(job, part_bytes=40_000, overwrite=True).resumed == 0
        assert (output / "notes.md").read() == b"mine"
        assert "secret" not in str(output)
    finally:
        server.stop()


def test_a_driver_that_is_killed(cluster: str, corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    output = tmp_path / "out"
    code = (
        "import spladert.integrations.ray as r; from spladert.cluster import ClusterJob, Places; "
        "from spladert.files import Encoding; "
        f"r.encode_corpus(ClusterJob(Places({str(corpus)!r}, {str(output)!r}), {str(tiny_bundle)!r}, "
        "encoding=Encoding('document')), part_bytes=3000, workers=1)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "RAY_ADDRESS": cluster})
    done = output / "_spladert" / "parts"
    while driver.poll() is None and not (done.is_dir() and len(list(done.iterdir())) >= 2):
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    report = encode_corpus(job_of(corpus, output, tiny_bundle), part_bytes=3000)
    assert report.resumed >= 2
    check(output, tiny_bundle)


def test_more_workers_than_a_machine_has(corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "encode", "--engine", "ray"]
    command += [
        "--model",
        str(tiny_bundle),
        "--input",
        str(corpus),
        "--output",
        str(tmp_path / "out"),
        "--threads",
        "1000",
    ]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "this machine has room for 0 workers of 1000 threads, and 1 are asked" in done.stderr


def test_a_cluster_that_does_not_answer(corpus: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    command = [sys.executable, "-c", "from spladert.cli import main; main()", "encode", "--engine", "ray"]
    command += ["--model", str(tiny_bundle), "--input", str(corpus), "--output", str(tmp_path / "out")]
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        environment = {**os.environ, "RAY_ADDRESS": address}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=100)
    assert done.returncode == 1
    assert f"nothing answers at RAY_ADDRESS={address} (" in done.stderr
