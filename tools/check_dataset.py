#!/usr/bin/env python3
"""Read a whole data set, all its files and labels, and report every fault with its file and place."""

from d2video.cli.check import main

if __name__ == "__main__":
    main()
