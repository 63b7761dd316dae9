"""The compiled int8 engine over the bundle's own cpu-int8 graph: what of a graph it covers, and running it."""
