"""Encoding files of any length: records in, vectors out, in constant memory, and resumable."""

from .job import Settings, Summary, check_output, encode_to_file, encode_to_stream, errors_file, partial_folder
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
    "errors_file",
    "format_of",
    "open_input",
    "partial_folder",
    "read_records",
]
