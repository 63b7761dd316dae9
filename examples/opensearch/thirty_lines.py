"""A search engine in thirty lines: opensearch-py, and spladert for the vectors.

python thirty_lines.py http://localhost:9200 "당뇨병은 어떻게 치료하나요?"
"""

import sys

from opensearchpy import OpenSearch, helpers

from spladert import SparseEncoder

DOCUMENTS = {
    "1": "당뇨병 치료에는 식이요법과 운동이 중요하다",
    "2": "손해배상 청구 소송에서 위자료를 산정하는 기준",
    "3": "서울의 오늘 날씨는 맑고 기온은 영상 이십 도",
}

encoder = SparseEncoder.load()
client = OpenSearch(sys.argv[1])
properties = {"text": {"type": "text"}, "sparse": {"type": "rank_features"}}
client.indices.delete(index="thirty-lines", ignore_unavailable=True)
client.indices.create(index="thirty-lines", body={"mappings": {"properties": properties}})

vectors = encoder.encode_document(list(DOCUMENTS.values()))
helpers.bulk(
    client,
    [
        {"_index": "thirty-lines", "_id": key, "text": text, "sparse": encoder.to_tokens(vector)}
        for (key, text), vector in zip(DOCUMENTS.items(), vectors, strict=True)
    ],
    refresh=True,
)
tokens = encoder.to_tokens(encoder.encode_query(sys.argv[2]))
found = client.search(index="thirty-lines", body={"query": {"neural_sparse": {"sparse": {"query_tokens": tokens}}}})
for hit in found["hits"]["hits"]:
    print(f"{hit['_score']:.3f}  {hit['_id']}  {hit['_source']['text']}")
