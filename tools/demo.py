#!/usr/bin/env python3
"""Run a model on a video, a camera or images; write pictures and predictions::

    tools/demo.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml --input street.mp4 \\
        --output tracks.mp4 --results tracks.json --opts MODEL.WEIGHTS model.pth
"""

from d2video.cli.predict import main

if __name__ == "__main__":
    main()
