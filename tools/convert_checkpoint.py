#!/usr/bin/env python3
"""Convert official checkpoints to d2video's and back, checked key by key."""

from d2video.cli.convert import main

if __name__ == "__main__":
    main()
