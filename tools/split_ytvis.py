#!/usr/bin/env python3
"""Split an annotated YouTube-VIS file; d2video split does it::

tools/split_ytvis.py train.json --train-output train_90.json --held-out held_10.json
"""

from d2video.cli.former import split_ytvis

if __name__ == "__main__":
    split_ytvis()
