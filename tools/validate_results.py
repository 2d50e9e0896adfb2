#!/usr/bin/env python3
"""Check a YouTube-VIS result file; d2video evaluate does it::

tools/validate_results.py output/results.json datasets/ytvis_2019/valid.json
"""

from d2video.cli.former import validate_results

if __name__ == "__main__":
    validate_results()
