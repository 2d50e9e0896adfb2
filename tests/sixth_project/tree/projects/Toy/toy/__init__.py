"""Toy: tells clips of three colours apart, by their average colour."""
