#!/usr/bin/env python3
"""Train or evaluate any system of d2video; the usual detectron2 command line."""

from d2video.cli.train import main

if __name__ == "__main__":
    main()
