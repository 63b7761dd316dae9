"""The C interface of include/spladert_kernels.h in ctypes: the same names, where its comments apply."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int8, c_int32, c_uint8, c_void_p
from pathlib import Path

ABI = 1
ERROR_SIZE = 256
GELU, RELU = 0, 1
LIBRARY = Path(__file__).with_name("libspladert_kernels.so")

Bytes, SignedBytes, Ints, Floats = POINTER(c_uint8), POINTER(c_int8), POINTER(c_int32), POINTER(c_float)


class Linear(Structure):
    _fields_ = (("weight", c_void_p), ("scale", c_void_p), ("bias", c_void_p))


class Quantization(Structure):
    _fields_ = (("scale", c_float), ("zero_point", c_int32))


class Norm(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p), ("epsilon", c_float))


class Layer(Structure):
    _fields_ = (
        *((name, Linear) for name in ("query", "key", "value", "output", "gate", "up", "down")),
        *((name, Quantization) for name in ("attention_input", "output_input", "mlp_input", "down_input")),
        ("after_attention", Norm),
        ("after_mlp", Norm),
        ("cos", c_void_p),
        ("sin", c_void_p),
        ("attention_scale", c_float),
        ("window", c_int32),
    )


class Model(Structure):
    _fields_ = (
        *(
            (name, c_int32)
            for name in ("layers", "hidden", "intermediate", "heads", "head_size", "vocabulary", "max_length")
        ),
        ("activation", c_int32),
        ("head_activation", c_int32),
        ("post_norm", c_int32),
        *((name, c_void_p) for name in ("word_high", "word_low", "word_scale", "position", "token_type")),
        ("position_rows", c_int32),
        ("position_pad", c_int32),
        ("embedding_norm", Norm),
        ("layer", POINTER(Layer)),
        ("head", Linear),
        ("head_input", Quantization),
        ("decoder_input", Quantization),
        ("head_norm", Norm),
        *((name, c_void_p) for name in ("decoder_high", "decoder_low", "decoder_scale", "decoder_bias")),
        ("mapped", c_int32),
    )


class Options(Structure):
    _fields_ = (("isa", c_char_p), ("threads", c_int32), ("spin", c_int32))


# name: (result, arguments)
_FUNCTIONS = {
    "abi": (c_int32, ()),
    "version": (c_char_p, ()),
    "isa_name": (c_char_p, (c_int32,)),
    "isa_missing": (c_char_p, (c_int32,)),
    "default_threads": (c_int32, ()),
    "create": (c_void_p, (POINTER(Model), POINTER(Options), c_char_p)),
    "destroy": (None, (c_void_p,)),
    "engine_isa": (c_char_p, (c_void_p,)),
    "engine_threads": (c_int32, (c_void_p,)),
    "run": (c_int32, (c_void_p, Ints, Ints, c_int32, c_int32, Ints, Floats, c_char_p)),
    "product": (c_int32, (c_char_p, Bytes, SignedBytes, c_int32, c_int32, c_int32, Ints, c_char_p)),
    "float_product": (c_int32, (c_char_p, Floats, Floats, c_int32, c_int32, c_int32, Floats, c_char_p)),
    "attention": (
        c_int32,
        (c_char_p, Floats, Floats, Floats, c_int32, c_int32, c_int32, c_float, Quantization, Bytes, c_char_p),
    ),
    "norm_quantize": (c_int32, (c_char_p, Floats, Norm, c_int32, c_int32, Quantization, Bytes, c_char_p)),
    "gelu": (c_int32, (c_char_p, Floats, c_int32, c_char_p)),
    "product_rate": (c_double, (c_char_p, c_int32, c_int32, c_int32, c_int32)),
}


def load_library(path: Path = LIBRARY) -> ctypes.CDLL:
    """The library with the types of its functions set.

    Raises:
        OSError: the library is missing, does not load, or has another interface.
    """
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _FUNCTIONS.items():
        try:
            function = getattr(library, f"spladert_{name}")
        except AttributeError:
            raise OSError(f"{path} has no function spladert_{name}; install spladert-kernels again") from None
        function.restype, function.argtypes = result, arguments
    if library.spladert_abi() != ABI:
        raise OSError(f"{path} has interface {library.spladert_abi()} instead of {ABI}; install spladert-kernels again")
    return library
