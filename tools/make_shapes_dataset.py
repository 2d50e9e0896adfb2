#!/usr/bin/env python3
"""Generate a small dataset of shapes: videos in YouTube-VIS or MOTChallenge format, COCO images, MP4"""

from d2video.cli.make_shapes import main

if __name__ == "__main__":
    main()
