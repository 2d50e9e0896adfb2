"""Datasets: registration, and from their files to records."""
