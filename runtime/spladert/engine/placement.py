"""Where a bundle runs and with which variant: decided here and nowhere else, and never fallen back from in silence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from ..bundle import Manifest, Variant
from ..errors import BundleError, DeviceError, InputError
from .driver import gpu_count
from .session import available_providers, onnxruntime_module

logger = logging.getLogger("spladert")

Device = Literal["auto", "cpu", "cuda", "tensorrt"]
DEVICES: tuple[str, ...] = get_args(Device)
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
# A device's own provider and those that take the nodes that it does not.
CHAINS = {
    "cpu": (PROVIDERS["cpu"],),
    "cuda": (PROVIDERS["cuda"], PROVIDERS["cpu"]),
    "tensorrt": (PROVIDERS["tensorrt"], PROVIDERS["cuda"], PROVIDERS["cpu"]),
}
# (target, precision) of the variants a device can run, the preferred one first. int8 reads the fewest bytes after int4,
# and is exact with VNNI and without, for its weights have 7 bits; int4 is for size.
VARIANTS = {
    "cpu": (("cpu", "int8"), ("cpu", "fp32"), ("cpu", "int4")),
    "cuda": (("cuda", "fp16"), ("cuda", "bf16"), ("cpu", "fp32")),
    "tensorrt": (("tensorrt", "fp16"), ("tensorrt", "int8")),
}
AUTO = ("cuda", "cpu")  # what "auto" tries, in this order; TensorRT builds for minutes, so it is asked for by name


@dataclass(frozen=True)
class PlacementRequest:
    """What a caller asks for.

    Attributes:
        device: "auto" may choose; any other runs or is an error.
        variant: a variant's name ("cpu-int8") or a precision ("int8"); None is the device's best of the bundle.
        providers: ONNX Runtime's providers, first choice first, in place of the device's own; the first runs or it is
            an error.
    """

    device: str = "auto"
    variant: str | None = None
    providers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Placement:
    """A variant on a device.

    Attributes:
        device: "cpu", "cuda" or "tensorrt".
        providers: ONNX Runtime's for it, first choice first.
        variant: the graph.
        providers_named: the caller named them, so that ONNX Runtime is what runs.
    """

    device: str
    providers: tuple[str, ...]
    variant: Variant
    providers_named: bool = False


@dataclass(frozen=True)
class Machine:
    """What a placement depends on besides the bundle.

    Attributes:
        providers: those of this onnxruntime.
        gpus: counts the GPUs that the driver gives; asked only where nothing was named, for it wakes the driver.
    """

    providers: tuple[str, ...]
    gpus: Callable[[], int] = gpu_count


def this_machine(request: PlacementRequest) -> Machine:
    """The machine with the installed onnxruntime, which is imported only where the request needs its own word.

    Raises:
        DependencyError: onnxruntime is not installed, or twice.
    """
    if request.providers is not None:
        return Machine(tuple(onnxruntime_module().get_available_providers()))
    return Machine(available_providers())


def make_request(device: str, variant: str | None, providers: Iterable[str] | None) -> PlacementRequest:
    """The request that the arguments mean.

    Raises:
        InputError: an unknown device, an argument of the wrong type, or a device and providers that contradict.
    """
    if device not in DEVICES:
        raise InputError(f"device is {device!r}; use one of {', '.join(DEVICES)}")
    if variant is not None and not isinstance(variant, str):
        raise InputError(f"variant is {variant!r}; give a name such as cpu-int8, or leave it out")
    if providers is None:
        return PlacementRequest(device, variant)
    if isinstance(providers, Iterable) and not isinstance(providers, str):
        providers = list(providers)
    if not isinstance(providers, list) or not providers:
        raise InputError(f"providers is {providers!r}, not a list of names; name at least one, or leave it out")
    strange = [name for name in providers if not isinstance(name, str)]
    if strange:
        raise InputError(f"providers holds {strange[0]!r}; give names alone, such as CPUExecutionProvider")
    if device not in ("auto", _device_of(providers[0])):
        raise InputError(
            f"device is {device!r} and the first provider {providers[0]}, which is for device "
            f"{_device_of(providers[0])!r}; leave one of them out"
        )
    return PlacementRequest(device, variant, tuple(providers))


def candidates(
    manifest: Manifest, request: PlacementRequest, machine: Machine, *, isa: str | None = None
) -> list[Placement]:
    """Placements that the request allows here, best first; the first that starts is the one to take.

    More than one are there only where nothing was named: a device, a provider, a variant or an instruction set that was
    asked for runs or is an error.

    Args:
        manifest: of the bundle.
        request: what the caller asks for.
        machine: where it is to run.
        isa: the caller's `RuntimeOptions.isa`, which is of the CPU.

    Raises:
        DeviceError: what was named is not in this onnxruntime.
        BundleError: the bundle has no fitting variant.
        InputError: the device and the instruction set contradict.
    """
    if isa is not None and request.providers is None:
        if request.device not in ("auto", "cpu"):
            raise InputError(f"isa is {isa!r}, of a CPU, and device is {request.device!r}; leave one of them out")
        request = replace(request, device="cpu")
    if request.providers is not None:
        missing = [name for name in request.providers if name not in machine.providers]
        if missing:
            raise DeviceError(f"{missing[0]} is not in this onnxruntime, which has {', '.join(machine.providers)}")
        device = _device_of(request.providers[0])
        return [Placement(device, request.providers, _variant(manifest, device, request.variant), providers_named=True)]
    named = next((variant for variant in manifest.variants if variant.name == request.variant), None)
    device = named.target if named is not None and request.device == "auto" else request.device
    if device != "auto":
        if PROVIDERS.get(device) not in machine.providers:
            raise DeviceError(
                f"device {device!r} needs {PROVIDERS.get(device, 'a newer spladert')}, and this onnxruntime has only "
                f"{', '.join(machine.providers)}: pip uninstall -y onnxruntime, then pip install 'spladert[gpu]' on a "
                "machine with an NVIDIA GPU"
            )
        return [Placement(device, CHAINS[device], _variant(manifest, device, request.variant))]
    found = []
    for device in AUTO:
        reason = _why_not(manifest, device, request.variant, machine)
        if reason is None:
            found.append(Placement(device, CHAINS[device], _variant(manifest, device, request.variant)))
        elif device == AUTO[-1] and not found:
            _variant(manifest, device, request.variant)  # raises
        elif reason:
            logger.warning("device auto: not on %s: %s", device, reason)
    logger.info("device auto: %s (onnxruntime has %s)", found[0].device, ", ".join(machine.providers))
    return found


def _why_not(manifest: Manifest, device: str, variant: str | None, machine: Machine) -> str | None:
    """Why "auto" passes a device over, "" where that is nothing to tell a user, None where it takes it."""
    if PROVIDERS[device] not in machine.providers:
        return ""
    if device != "cpu" and machine.gpus() == 0:
        return "this onnxruntime has CUDA, but the driver finds no NVIDIA GPU here"
    if _find(manifest, device, variant) is None:
        return _no_variant(manifest, device, variant) if variant is None else ""
    return None


def _variant(manifest: Manifest, device: str, asked: str | None) -> Variant:
    found = _find(manifest, device, asked)
    if found is None:
        raise BundleError(_no_variant(manifest, device, asked))
    return found


def _find(manifest: Manifest, device: str, asked: str | None) -> Variant | None:
    """The bundle's best variant for a device, of those that `asked` allows; one of its target that is not known here is
    taken by its name alone: what a reader must know of it is in the manifest's `requires`."""
    for target, precision in VARIANTS[device]:
        for variant in manifest.variants:
            if (variant.target, variant.precision) == (target, precision) and asked in (None, variant.name, precision):
                return variant
    return next((v for v in manifest.variants if v.target == device and asked in (v.name, v.precision)), None)


def _no_variant(manifest: Manifest, device: str, asked: str | None) -> str:
    have = ", ".join(variant.name for variant in manifest.variants) or "none"
    what = "variant" if asked is None else f"variant {asked!r}"
    return f"the bundle has no {what} for {device}, it has {have}; export it again with one"


def _device_of(provider: str) -> str:
    """The device whose variants a provider runs; one that is not known here (OpenVINO, for instance) runs the CPU's."""
    return next((device for device, name in PROVIDERS.items() if name == provider), "cpu")
