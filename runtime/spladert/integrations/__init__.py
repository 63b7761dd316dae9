"""The encoder as other frameworks want it, a module each; none is imported before it is asked for."""
