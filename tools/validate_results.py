#!/usr/bin/env python3
"""Check a YouTube-VIS result file before it goes to an evaluation server."""

from d2video.cli.validate_results import main

if __name__ == "__main__":
    main()
