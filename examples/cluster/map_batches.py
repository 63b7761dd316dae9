"""Sentences encoded in a Ray pipeline of one's own.

python examples/cluster/map_batches.py sentences.txt vectors/
"""

import sys

import ray

from spladert.integrations.ray import SparseEncode

source, output = sys.argv[1:]
ray.init()
workers = max(int(ray.cluster_resources()["CPU"]) - 1, 1)  # reading and writing take a core too, and would get none
(
    ray.data.read_text(source)
    .map_batches(
        SparseEncode,
        batch_format="pyarrow",
        batch_size=1024,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
    )
    .write_parquet(output)
)
