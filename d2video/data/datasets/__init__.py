"""Data sets: registration, and from their files to records."""
