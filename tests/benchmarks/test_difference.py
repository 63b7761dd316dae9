from __future__ import annotations

import pytest

from benchmarks.difference import difference
from support.comparison import content_of, raw_of


def test_ratios_are_after_over_before() -> None:
    before = content_of({"pytorch": raw_of(100), "spladert cpu-int8": raw_of(20), "gone": raw_of(1)})
    slower = raw_of(120)
    slower["mix"] = []
    after = content_of({"pytorch": slower, "spladert cpu-int8": raw_of(10), "new": raw_of(1)})
    after["settings"] = {**after["settings"], "variants": {"cpu-int8": "another graph"}}
    for name, kept in (("pytorch", {"1 x 8", "32 x 64"}), ("spladert cpu-int8", {"1 x 8"})):
        shapes = after["engines"][name]["shapes"]
        after["engines"][name]["shapes"] = {shape: shapes[shape] for shape in kept}
    assert difference(before, after).splitlines() == [
        "| engine | 1 x 8 | 32 x 64 | mix | peak MB, mix | peak MB, shapes | cold start |",
        "|---|---|---|---|---|---|---|",
        "| pytorch | 1.20 | 1.20 |  |  | 1.00 | 1.00 |",
        "| spladert cpu-int8 | 0.50 |  | 0.50 | 1.00 | 1.00 | 1.00 |",
    ]


def test_what_cannot_be_compared_is_refused() -> None:
    one = content_of({"pytorch": raw_of(100)})
    with pytest.raises(SystemExit, match=r"another machine \(cores\)"):
        difference(one, {**one, "machine": {**one["machine"], "cores": 3}})
    with pytest.raises(SystemExit, match=r"another settings \(threads\)"):
        difference(one, {**one, "settings": {**one["settings"], "threads": 1}})
    with pytest.raises(SystemExit, match="no engine is in both"):
        difference(one, content_of({"optimum fp32": raw_of(1)}))
