"""How fast a bundle is on this machine, and what it is measured with; `benchmarks/` of the repository uses it too.

Nothing is imported here: a worker's start is part of what is measured.
"""
