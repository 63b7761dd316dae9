"""Encoding files of any length: records in, vectors out, in constant memory, and resumable."""

from .job import Settings, Summary, check_output, encode_to_file, encode_to_stream
from .records import BadRecord, InputFile, Record, format_of, open_input, read_records

__all__ = [
    "BadRecord",
    "InputFile",
    "Record",
    "Settings",
    "Summary",
    "check_output",
    "encode_to_file",
    "encode_to_stream",
    "format_of",
    "open_input",
    "read_records",
]
