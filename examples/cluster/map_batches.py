"""Sentences encoded in a Ray pipeline of one's own.

python examples/cluster/map_batches.py sentences.txt vectors/
"""

import sys

import ray

from spladert.integrations.ray import SparseEncode

source, output = sys.argv[1:]
(
    ray.data.read_text(source)
    .map_batches(
        SparseEncode,
        batch_format="pyarrow",
        batch_size=1024,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=2),
    )
    .write_parquet(output)
)
