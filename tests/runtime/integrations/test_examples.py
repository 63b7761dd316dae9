"""The manifest for Kubernetes: it parses, and what it runs is a command line that spladert takes."""

from __future__ import annotations

import shlex

import pytest

from spladert.cli.encode import encode_command
from support.paths import ROOT

yaml = pytest.importorskip("yaml", reason="needs PyYAML, which the dev extra brings")


def test_the_rayjob() -> None:
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
