"""Video instance segmentation (YouTube-VIS)."""
