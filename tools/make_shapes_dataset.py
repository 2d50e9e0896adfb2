#!/usr/bin/env python3
"""Generate a small labelled data set of moving shapes::

tools/make_shapes_dataset.py datasets/shapes --split train=400 val=40
"""

from d2video.cli.make_shapes import main

if __name__ == "__main__":
    main()
