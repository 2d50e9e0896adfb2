"""Files on disk: read, checked and written; no tensors. A module a format; import the modules."""
