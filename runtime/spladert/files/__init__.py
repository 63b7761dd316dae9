"""Encoding files of any length: records in, vectors out, in constant memory, and resumable."""

from .destination import Destination
from .job import ChunkLimits, Encoding, Job, Progress, RunOptions, Summary
from .loop import encode_records
from .readers import format_of, read_records
from .records import BadRecord, Fields, Record
from .sinks import Sink, Vocabulary
from .source import InputFile, open_input

__all__ = [
    "BadRecord",
    "ChunkLimits",
    "Destination",
    "Encoding",
    "Fields",
    "InputFile",
    "Job",
    "Progress",
    "Record",
    "RunOptions",
    "Sink",
    "Summary",
    "Vocabulary",
    "encode_records",
    "format_of",
    "open_input",
    "read_records",
]
