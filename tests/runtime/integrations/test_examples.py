"""The manifest for Kubernetes: it parses, and what it runs is a command line that spladert takes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from spladert.cli.encode import encode_command
from support.paths import ROOT


@pytest.mark.usefixtures("ray_alone")
def test_the_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the ray extra: pip install 'spladert[ray]'")
    dataset = pytest.importorskip("pyarrow.dataset")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core: reading and the actor need one each")
    (tmp_path / "sentences.txt").write_text("당뇨병 치료\n계약서\n" * 20, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, str(ROOT / "examples" / "cluster" / "map_batches.py"), "sentences.txt", "vectors"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = dataset.dataset(tmp_path / "vectors").to_table().to_pylist()
    assert len(rows) == 40
    assert all(row["indices"] and row["error"] is None for row in rows)


def test_the_rayjob() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which the dev extra brings")
    job = yaml.safe_load((ROOT / "examples" / "cluster" / "kuberay.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    program, command, *arguments = shlex.split(spec["entrypoint"])
    assert (program, command) == ("spladert", "encode")
    parsed = encode_command.make_context("encode", arguments)
    assert parsed.params["engine"] == "ray"
    [group] = spec["rayClusterSpec"]["workerGroupSpecs"]
    for template in (spec["rayClusterSpec"]["headGroupSpec"]["template"], group["template"]):
        for container in template["spec"]["containers"]:
            assert container["resources"]["limits"] == container["resources"]["requests"]
    cores = int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert cores % int(parsed.params["threads"]) == 0
