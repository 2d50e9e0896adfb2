#!/usr/bin/env python3
"""Report every fault in a data set, with file and location::

tools/check_dataset.py --dataset ytvis_2019_train mot17_train
"""

from d2video.cli.check import main

if __name__ == "__main__":
    main()
