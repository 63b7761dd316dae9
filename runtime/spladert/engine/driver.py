"""What the NVIDIA driver says of this machine's GPUs.

The driver is asked itself: device files differ (WSL2 has /dev/dxg alone), and ONNX Runtime lists the CUDA provider
wherever onnxruntime-gpu is installed, while its device list is made from /sys/class/drm, which WSL2 and many
containers do not have.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

from ..errors import DeviceError


def gpu_count() -> int:
    """Number of GPUs that the driver gives this process; 0 without a driver."""
    try:
        cuda = _driver()
    except DeviceError:
        return 0
    count = ctypes.c_int()
    return 0 if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) else count.value


def gpu_name() -> str:
    """Name and compute capability of the first visible GPU.

    Raises:
        DeviceError: there is no driver or no GPU.
    """
    cuda = _driver()
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    # cuInit, cuDeviceGet, cuDeviceGetName and cuDeviceGetAttribute of the CUDA driver API
    # (CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR is 75, _MINOR 76)
    failed = (
        cuda.cuInit(0)
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)
    )
    if failed:
        raise DeviceError(f"the NVIDIA driver finds no GPU that starts (CUDA error {failed})")
    return f"{name.value.decode(errors='replace')}, {major.value}.{minor.value}"


def _driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1" if os.name != "nt" else "nvcuda.dll")
    except OSError as error:
        raise DeviceError(f"there is no NVIDIA driver here ({error}); a GPU needs one") from None
