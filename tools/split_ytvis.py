#!/usr/bin/env python3
"""Split an annotated file in YouTube-VIS format into a training and a held-out part, by video."""

from d2video.cli.split_ytvis import main

if __name__ == "__main__":
    main()
