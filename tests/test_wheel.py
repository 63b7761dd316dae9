"""The wheel: what is in it, and that it runs where it and what it declares to need are all there is."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from spladert import __version__
from support.fresh_install import make_environment
from support.paths import ROOT
from support.readme import blocks, numbers_where_they_agree
from support.terminal import run_in_terminal

if importlib.util.find_spec("hatchling") is None or importlib.util.find_spec("pip") is None:
    pytest.skip("needs hatchling and pip: pip install 'spladert[dev]'", allow_module_level=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, check=True, cwd=ROOT, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with `spladert[cpu]` of the wheel."""
    return make_environment(tmp_path_factory.mktemp("environment"), wheel, "cpu")


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command far from the checkout, without a network."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=folder, env=offline()
    )


def offline() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}


def test_the_wheel_has_the_packages_and_their_data_and_nothing_else(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    expected = {
        str(path.relative_to(root))
        for root in (ROOT / "runtime", ROOT / "export")
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    about = f"spladert-{__version__}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == expected
    assert {"spladert/py.typed", "spladert_export/py.typed", "spladert/default_model/cpu-int8.onnx.data"} <= expected
    assert f"{about}licenses/LICENSE" in names


def test_it_encodes_as_the_readme_shows(python: Path, tmp_path: Path) -> None:
    """The README's first command, but for its installation."""
    start = next(block for block in blocks() if "spladert encode" in block.code)
    command = [python.parent / "spladert", "encode", "당뇨병 치료 방법"]
    status, output = run_in_terminal(command, tmp_path, offline())
    assert status == 0, output
    assert start.output is not None
    numbers = numbers_where_they_agree(start.output, output)
    assert numbers is not None, output
    for shown, found in numbers:
        assert float(found) == pytest.approx(float(shown), rel=1e-3)


IMPORT_ALL = """
import importlib, json, pkgutil, sys
import spladert
found = {}
for module in pkgutil.walk_packages(spladert.__path__, "spladert."):
    try:
        importlib.import_module(module.name)
        found[module.name] = None
    except spladert.DependencyError as error:  # of a package that is an extra's as a whole
        found[module.name] = str(error)
heavy = {"torch", "transformers", "onnx", "scipy", "pyarrow", "matplotlib", "ir_measures"} & set(sys.modules)
print(json.dumps([spladert.__file__, found, sorted(heavy)]))
"""


def test_every_module_imports_or_names_its_extra(python: Path, tmp_path: Path) -> None:
    done = run(python, "-c", IMPORT_ALL, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    file, modules, heavy = json.loads(done.stdout)
    runtime = ("spladert.bundle", "spladert.engine", "spladert.files", "spladert.bench", "spladert.evaluation")
    assert all(why is None for name, why in modules.items() if name.startswith(runtime))
    assert all("pip install 'spladert[" in why for why in modules.values() if why is not None)
    assert Path(file).is_relative_to(python.parent.parent)
    assert len(modules) > 40
    assert heavy == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "a", "b"], "pip install 'spladert[cpu,export]'"),
        (["evaluate", "--data", "."], "pip install 'spladert[evaluate]'"),
        (["bench", "--plot", "a.svg"], "pip install 'spladert[bench]'"),
        (["encode", "--input", "t.txt", "--output", "v.parquet"], "pip install 'spladert[parquet]'"),
    ],
)
def test_a_missing_extra_is_named(arguments: list[str], message: str, python: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("계약서\n", encoding="utf-8")
    done = run(python.parent / "spladert", *arguments, folder=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_the_wheels(python: Path, tmp_path: Path) -> None:
    done = run(python.parent / "spladert", "--version", folder=tmp_path)
    assert done.stdout == f"spladert, version {__version__}\n"
