"""Answers as pictures. Nothing is imported here: programs read ``options`` before they load OpenCV."""
