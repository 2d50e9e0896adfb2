#!/usr/bin/env python3
"""Split a YouTube-VIS annotation file into a training and a held-out part::

    tools/split_ytvis.py datasets/ytvis_2019/train.json \\
        --train-output datasets/ytvis_2019/train_90.json --held-out datasets/ytvis_2019/held_10.json
"""

from d2video.cli.split_ytvis import main

if __name__ == "__main__":
    main()
