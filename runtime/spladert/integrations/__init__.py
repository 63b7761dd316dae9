"""Classes and functions that other frameworks expect; none is imported unless its module is."""
