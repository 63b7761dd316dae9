"""Every kind of damaged bundle is refused with a message that names the file and what is wrong."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spladert import BundleError, InputError, SparseEncoder
from spladert.bundle import SCHEMA_VERSION, Manifest, open_bundle
from spladert.bundle.onnx_files import external_files

GRAPH, DATA = "cpu-fp32.onnx", "cpu-fp32.onnx.data"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bundle / "spladert.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_manifest_survives_a_round_trip(tiny_bundle: Path) -> None:
    text = (tiny_bundle / "spladert.json").read_text(encoding="utf-8")
    manifest = Manifest.from_json(text)
    assert manifest.to_json() == text
    assert manifest.variants[0].fidelity["max_weight_error"] < 1e-5
    assert set(manifest.made_with) == {"spladert", "torch", "transformers", "onnx", "onnxscript", "onnxruntime"}


@pytest.mark.parametrize("name", ["tokenizer.json", GRAPH, DATA])
def test_missing_file(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing from the bundle"):
        SparseEncoder.load(bundle)


@pytest.mark.parametrize("name", ["tokenizer.json", GRAPH, DATA])
def test_truncated_file(bundle: Path, name: str) -> None:
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=rf"{name} has \d+ bytes instead of {len(content)}: truncated or altered"):
        SparseEncoder.load(bundle)


@pytest.mark.parametrize("name", ["tokenizer.json", GRAPH, DATA])
def test_altered_file_of_the_same_size(bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is altered: its sha256"):
        SparseEncoder.load(bundle)


def test_what_a_reader_must_know_is_refused_by_name_where_it_does_not(bundle: Path) -> None:
    edit(bundle, lambda m: m.update(requires=["a-thing-of-tomorrow"]))
    with pytest.raises(
        BundleError, match=r"requires 'a-thing-of-tomorrow', which this spladert does not know.*upgrade"
    ):
        SparseEncoder.load(bundle)
    edit(bundle, lambda m: m.update(requires=[3]))
    with pytest.raises(BundleError, match="'requires' holds int instead of str"):
        SparseEncoder.load(bundle)


def test_the_first_schema_is_read(bundle: Path) -> None:
    def as_it_was(manifest: dict[str, Any]) -> None:
        del manifest["requires"]
        manifest["schema_version"] = 1

    expected = SparseEncoder.load(bundle).encode("당뇨병 치료")
    edit(bundle, as_it_was)
    encoder = SparseEncoder.load(bundle)
    assert encoder.manifest.requires == ()
    assert encoder.encode("당뇨병 치료") == expected


def test_newer_schema(bundle: Path) -> None:
    edit(bundle, lambda m: m.update(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(BundleError, match=rf"schema version {SCHEMA_VERSION + 1}.*upgrade it with pip install -U"):
        SparseEncoder.load(bundle)


def test_truncated_manifest(bundle: Path) -> None:
    path = bundle / "spladert.json"
    path.write_text(path.read_text(encoding="utf-8")[:200], encoding="utf-8")
    with pytest.raises(BundleError, match=r"spladert\.json is not valid JSON"):
        SparseEncoder.load(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.pop("variants"), "has no 'variants'"),
        (lambda m: m["source"].pop("id"), "has no 'id'"),
        (lambda m: m.update(max_length="64"), "'max_length' holds str instead of int"),
        (lambda m: m.update(vocabulary_size=10**30), "'vocabulary_size' is 10+, which cannot be"),
        (lambda m: m.update(top_k=0), "'top_k' is 0, which cannot be"),
        (lambda m: m["variants"][0].update(files=[]), "lists no files"),
        (lambda m: m["variants"].append(3), "'variants' holds int instead of dict"),
        (lambda m: m["variants"].append(m["variants"][0]), "lists the variant '[a-z0-9-]+' twice"),
        (lambda m: m.update(schema_version=0), "never existed"),
        (lambda m: m["tokenizer"].update(name="../tokenizer.json"), "names a file outside the bundle"),
        (lambda m: m["tokenizer"].update(name="/etc/passwd"), "names a file outside the bundle"),
        (lambda m: m.update(variants=[]), "has no variant for cpu"),
    ],
)
def test_wrong_manifest(bundle: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(bundle, change)
    with pytest.raises(BundleError, match=message):
        SparseEncoder.load(bundle)


def test_a_manifest_that_is_nested_too_deeply(bundle: Path) -> None:
    (bundle / "spladert.json").write_text("[" * 100_000)
    with pytest.raises(BundleError, match=r"spladert\.json is not valid JSON \(nested too deeply\)"):
        SparseEncoder.load(bundle)


def test_missing_folder_checkpoint_and_file(tmp_path: Path, tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="does not exist here and is no hub id"):
        open_bundle(tmp_path / "nowhere" / "at all")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BundleError, match="looks like a checkpoint: make a bundle of it with spladert export"):
        open_bundle(tmp_path)
    with pytest.raises(BundleError, match="is a file, not a bundle folder"):
        open_bundle(tiny_bundle / "spladert.json")


def test_what_is_no_name_of_a_bundle() -> None:
    with pytest.raises(InputError, match="bundle is int; give a folder or a hub id"):
        SparseEncoder.load(3)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="does not exist here and is no hub id"):
        SparseEncoder.load("x" * 5000)


def test_altered_data_is_the_error_even_where_the_session_fails(bundle: Path) -> None:
    (bundle / DATA).write_bytes(bytes((bundle / DATA).stat().st_size))
    opened = open_bundle(bundle)
    with (
        pytest.raises(BundleError, match=f"{DATA} is altered"),
        opened.checking(opened.manifest.variants[0]),
    ):
        raise BundleError("the session does not start")


def test_a_revision_of_a_folder(tiny_bundle: Path) -> None:
    with pytest.raises(InputError, match="revision 'main' is for hub ids"):
        SparseEncoder.load(tiny_bundle, revision="main")
    with pytest.raises(InputError, match="revision 'main' is for hub ids"):
        SparseEncoder.load(revision="main")


def test_unknown_precision(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="no variant 'int3' for cpu, it has cpu-fp32"):
        SparseEncoder.load(tiny_bundle, precision="int3")


def _outside(bundle: Path, location: str) -> None:
    """Make the graph read its data from `location` and the manifest agree with the changed graph."""
    import hashlib

    onnx = pytest.importorskip("onnx", reason="needs the export extra: pip install 'spladert[export]'")
    model = onnx.load(bundle / GRAPH, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    content = model.SerializeToString()
    (bundle / GRAPH).write_bytes(content)
    file = {"name": GRAPH, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(bundle, lambda m: m["variants"][0]["files"].__setitem__(0, file))


@pytest.mark.parametrize("location", ["../stolen.data", "/etc/passwd", "other.data"])
def test_data_outside_the_bundle(bundle: Path, location: str) -> None:
    _outside(bundle, location)
    assert external_files(bundle / GRAPH) == {location}
    with pytest.raises(BundleError, match="which is not a file of the bundle"):
        SparseEncoder.load(bundle)


def test_external_files_are_found_in_subgraphs(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="hidden", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="deep.data")
    inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    constant.attribute[0].t.external_data[0].value = "attribute.data"
    branch = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    model = onnx.helper.make_model(onnx.helper.make_graph([branch, constant], "g", [], []))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert external_files(path) == {"deep.data", "attribute.data"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_graph_or_a_bundle_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "model.onnx"
    path.write_bytes(content)
    with contextlib.suppress(BundleError):  # any other error fails the test
        assert isinstance(external_files(path), set)
