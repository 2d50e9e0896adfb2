#!/usr/bin/env python3
"""Train or evaluate any system, with detectron2's command line::

tools/train_net.py --num-gpus 8 --config-file configs/VisTR/vistr_R50_ytvis2019.yaml
"""

from d2video.cli.train import main

if __name__ == "__main__":
    main()
