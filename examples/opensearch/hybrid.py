"""Hybrid search in one call: BM25, sparse vectors and, if there is one, a dense query, blended by the cluster.

    python hybrid.py opensearch://localhost:9200/docs "당뇨병은 어떻게 치료하나요?"

The index is one that `spladert encode --output` made.
"""

import sys

from spladert import SparseEncoder
from spladert.opensearch import hybrid_body, keys_of, query_clause
from spladert.opensearch.client import connect, explained
from spladert.stores import Connection, parse_store_url

url, question = parse_store_url(sys.argv[1]), sys.argv[2]
client = connect(url, Connection())
with SparseEncoder.load() as encoder:
    sparse = query_clause(encoder.encode_query(question), "sparse", "rank_features", keys_of(encoder.bundle))

# A dense query of your own goes behind `sparse`: {"knn": {"dense": {"vector": [...], "k": 10}}}
for blend, weights in (("normalization", [0.3, 0.7]), ("rrf", None)):
    body = hybrid_body(question, sparse, blend=blend, weights=weights, top=3)
    with explained(url):
        hits = client.search(index=url.name, body=body)["hits"]["hits"]
    print(blend, [(hit["_id"], round(hit["_score"], 3)) for hit in hits])
