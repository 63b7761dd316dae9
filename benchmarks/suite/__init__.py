"""The parts of the comparison: what is run (engines, workload), how it is measured, and how it is shown."""
