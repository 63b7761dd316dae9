"""Running a graph: where, with what, and how."""
