#!/usr/bin/env python3
"""Check and score result files of any tracker: one <sequence>.txt for each sequence of a split."""

from d2video.cli.evaluate_mot import main

if __name__ == "__main__":
    main()
