"""A corpus in parts that many workers encode: what a part is, how one is encoded, and the record of what is done.

Nothing here distributes anything: `spladert.integrations.ray` gives the parts to Ray, and any other engine could.
"""

from .job import ClusterJob, Places, begin, begun, pending, report_of
from .parts import Part, find_parts
from .report import ClusterReport, PartReport, summarize
from .work import encode_part, prepare_store

__all__ = [
    "ClusterJob",
    "ClusterReport",
    "Part",
    "PartReport",
    "Places",
    "begin",
    "begun",
    "encode_part",
    "find_parts",
    "pending",
    "prepare_store",
    "report_of",
    "summarize",
]
