"""Helpers of every room: errors, files, registries, random state. Import the modules."""
