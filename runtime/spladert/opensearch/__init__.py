"""OpenSearch: indexes of a bundle's vectors, and the searches of them.

The bodies of requests are made here without the client. What talks to a cluster needs the extra `opensearch`.
"""

from .entries import document_tokens, query_tokens
from .index import Ceilings, Kind, index_body
from .keys import Keys, Loss, keys_of, loss_of
from .query import hybrid_body, query_body, query_clause, two_phase
from .renumber import number_tokens, numbered_keys, read_numbers, settle_numbers

__all__ = [
    "Ceilings",
    "Keys",
    "Kind",
    "Loss",
    "document_tokens",
    "hybrid_body",
    "index_body",
    "keys_of",
    "loss_of",
    "number_tokens",
    "numbered_keys",
    "query_body",
    "query_clause",
    "query_tokens",
    "read_numbers",
    "settle_numbers",
    "two_phase",
]
