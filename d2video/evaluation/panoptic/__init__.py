"""Panoptic segmentation (COCO)."""
