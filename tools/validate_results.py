#!/usr/bin/env python3
"""Check a YouTube-VIS result file before you upload it::

tools/validate_results.py output/results.json datasets/ytvis_2019/valid.json
"""

from d2video.cli.validate_results import main

if __name__ == "__main__":
    main()
