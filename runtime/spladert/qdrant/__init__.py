"""Qdrant: points in a server's collection, or in a folder by the engine itself."""
