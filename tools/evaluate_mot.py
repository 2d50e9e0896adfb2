#!/usr/bin/env python3
"""Check and score the result files of any tracker; d2video evaluate does it::

tools/evaluate_mot.py --dataset mot17_val_half --results output/mot17
"""

from d2video.cli.former import evaluate_mot

if __name__ == "__main__":
    evaluate_mot()
