#!/usr/bin/env python3
"""Check and score the result files of any tracker::

tools/evaluate_mot.py --dataset mot17_val_half --results output/mot17
"""

from d2video.cli.evaluate_mot import main

if __name__ == "__main__":
    main()
