"""Bundles of a hub, which a real server plays; in processes of their own, for the client reads its environment once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hub import COMMIT, REPOSITORY, Fault, Hub, serving

ENCODE = """
import json, sys
from spladert import SpladertError, SparseEncoder
try:
    encoder = SparseEncoder.load(sys.argv[1], revision=sys.argv[2] or None, variant=sys.argv[3] or None)
    vector = encoder.encode("당뇨병 치료")
    print(json.dumps({"variant": encoder.variant.name, "revision": encoder.bundle.origin[1], "entries": len(vector)}))
except SpladertError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def hub(tiny_bundle: Path, tmp_path: Path) -> Iterator[Hub]:
    """A hub with a bundle of two variants over the same weights."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "on-the-hub"))
    manifest = json.loads((folder / "spladert.json").read_text(encoding="utf-8"))
    [only] = manifest["variants"]
    graph, data = only["files"]
    content = (folder / graph["name"]).read_bytes() + b"\x32\x05other"  # ModelProto.doc_string
    (folder / "cuda-fp16.onnx").write_bytes(content)
    graph = {"name": "cuda-fp16.onnx", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    other = {"name": "cuda-fp16", "target": "cuda", "precision": "fp16", "files": [graph, data]}
    manifest["variants"].append(only | other)
    (folder / "spladert.json").write_text(json.dumps(manifest), encoding="utf-8")
    with serving(folder) as hub:
        yield hub


def run(command: list[str], hub: Hub, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def encode(
    hub: Hub, cache: Path, *, repository: str = REPOSITORY, revision: str = "", variant: str = "", **environment: str
) -> str:
    done = run(["-c", ENCODE, repository, revision, variant], hub, cache, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_only_what_runs_here_is_downloaded_and_only_once(hub: Hub, tmp_path: Path) -> None:
    found = json.loads(encode(hub, tmp_path))
    assert found == {"variant": "cpu-fp32", "revision": COMMIT, "entries": found["entries"]}
    assert found["entries"] > 0
    assert hub.fetched[0] == "spladert.json"
    assert sorted(hub.fetched[1:]) == ["cpu-fp32.onnx", "cpu-fp32.onnx.data", "tokenizer.json"]
    hub.fetched.clear()
    assert json.loads(encode(hub, tmp_path)) == found
    assert json.loads(encode(hub, tmp_path, HF_HUB_OFFLINE="1")) == found
    assert json.loads(encode(hub, tmp_path, revision=COMMIT, HF_ENDPOINT="http://127.0.0.1:9")) == found
    assert hub.fetched == []


def test_another_variant_comes_when_it_is_asked_for(hub: Hub, tmp_path: Path) -> None:
    encode(hub, tmp_path)
    hub.fetched.clear()
    inspected = run(
        ["-c", "from spladert.cli import main; main()", "inspect", REPOSITORY, "--json", "-"], hub, tmp_path
    )
    assert inspected.returncode == 0, inspected.stderr
    assert json.loads(inspected.stdout)["files"] == {"tokenizer": None, "cpu-fp32": None}
    assert hub.fetched == []
    code = f"""
from spladert.bundle import open_bundle
bundle = open_bundle({REPOSITORY!r})
print([bundle.is_fetched(variant) for variant in bundle.manifest.variants])
print(bundle.graph(bundle.manifest.variants[1]).name)
print([bundle.is_fetched(variant) for variant in bundle.manifest.variants])
"""
    done = run(["-c", code], hub, tmp_path)
    assert done.stdout.splitlines() == ["[True, False]", "cuda-fp16.onnx", "[True, True]"], done.stderr
    assert hub.fetched == ["cuda-fp16.onnx"]


def test_a_manifest_cannot_have_files_fetched_from_outside_the_repository(hub: Hub, tmp_path: Path) -> None:
    path = hub.folder / "spladert.json"
    path.write_text(path.read_text(encoding="utf-8").replace("tokenizer.json", "../tokenizer.json"), encoding="utf-8")
    assert "names a file outside the bundle: '../tokenizer.json'" in encode(hub, tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spladert.json", f"{REPOSITORY} on the hub has no spladert.json, so it is not a bundle"),
        ("cpu-fp32.onnx.data", f"{REPOSITORY} on the hub has no cpu-fp32.onnx.data, so it is not a bundle"),
    ],
)
def test_a_file_that_is_not_there(name: str, message: str, hub: Hub, tmp_path: Path) -> None:
    (hub.folder / name).unlink()
    assert encode(hub, tmp_path).startswith(f"BundleError {message}")


def test_a_file_that_is_not_what_the_manifest_says(hub: Hub, tmp_path: Path) -> None:
    with (hub.folder / "tokenizer.json").open("ab") as stream:
        stream.write(b"\n")
    assert "tokenizer.json has" in encode(hub, tmp_path)


FAILED = f"BundleError {REPOSITORY} does not exist here and could not be downloaded from the hub ("


@pytest.mark.parametrize("fault", ["login page", "cut body", "redirect loop"])
def test_answers_of_what_is_no_hub(fault: Fault, hub: Hub, tmp_path: Path) -> None:
    hub.fault = fault
    answer = encode(hub, tmp_path)
    assert answer.startswith(FAILED)
    assert "Please check your connection" not in answer  # the cause, not that there was one


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_HUB_OFFLINE": "1"},
        {"HF_ENDPOINT": "http://127.0.0.1:9"},  # refuses
        {"HF_ENDPOINT": "127.0.0.1:9"},  # no scheme
        {"HF_ENDPOINT": "http://"},
        {"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": "", "no_proxy": ""},  # needs a package that is not installed
        {"HF_HOME": f"{__file__}/home"},  # cannot be made
    ],
    ids=["offline", "refused", "no scheme", "no host", "socks", "no home"],
)
def test_a_hub_that_cannot_be_asked(environment: dict[str, str], hub: Hub, tmp_path: Path) -> None:
    done = run(["-c", ENCODE, REPOSITORY, "", ""], hub, tmp_path, **environment)
    assert done.stdout.startswith(FAILED)
    assert "Retrying" not in done.stderr  # at once, not after the client's further tries


def test_a_repository_or_a_revision_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    assert encode(hub, tmp_path, repository="someone/else").startswith("BundleError someone/else does not exist here")
    assert encode(hub, tmp_path, revision="no-such-branch").startswith(FAILED)
