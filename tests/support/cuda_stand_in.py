"""Builds the stand-in for the CUDA libraries (cuda_stand_in.c) that onnxruntime-gpu's CUDA provider links."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from spladert.engine.libraries import CUDNN, needed_libraries

SOURCE = Path(__file__).with_suffix(".c")


def why_not(provider: Path) -> str | None:
    """Why the stand-in cannot be built for the provider's library here; None where it can."""
    missing = [tool for tool in ("cc", "nm") if shutil.which(tool) is None]
    if missing:
        return f"the stand-in for CUDA needs {' and '.join(missing)}"
    if "libcudart.so.13" not in needed_libraries(provider):
        return "the stand-in for CUDA has the layouts of CUDA 13, and this onnxruntime-gpu is for another"
    return None


def build(provider: Path, folder: Path) -> dict[str, str]:
    """Make libraries of the names that the provider links in `folder`; returns the environment to run it with."""
    listed = subprocess.run(["nm", "-D", "--undefined-only", provider], capture_output=True, text=True, check=True)
    names = set(re.findall(r" U (_*cu(?:da|blas|rand)?[A-Z]\w*)", listed.stdout))
    names |= {name.decode() for name in re.findall(rb"\0(?=(cudnn[A-Z]\w+)\0)", provider.read_bytes())}
    written = SOURCE.read_text(encoding="utf-8")
    rest = sorted(name for name in names if f"{name}(" not in written)
    everything = folder / "everything.c"
    everything.write_text(written + "".join(f"status {name}(void) {{ return 0; }}\n" for name in rest))
    library = folder / "libstandin.so"
    compile_library = ["cc", "-w", "-O1", "-shared", "-fPIC"]
    subprocess.run([*compile_library, everything, "-o", library], check=True)
    empty = folder / "empty.c"
    empty.touch()
    linked = [name for name in needed_libraries(provider) if name.startswith(("libcu", "libnv"))]
    for name in linked:
        subprocess.run([*compile_library, f"-Wl,-soname,{name}", empty, "-o", folder / name], check=True)
    shutil.copy(library, folder / CUDNN)
    return {"LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(folder)}
