"""Boxes, polygons and masks as annotation files hold them: judged and converted."""
