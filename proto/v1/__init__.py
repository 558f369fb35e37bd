"""Version 1 of the wire; everything ending in _pb2 here is generated and committed."""
