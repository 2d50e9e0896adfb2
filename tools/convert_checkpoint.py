#!/usr/bin/env python3
"""Convert an official checkpoint to d2video's names, or back::

    tools/convert_checkpoint.py --config-file configs/VisTR/vistr_R50_ytvis2019.yaml \\
        --format vistr --input vistr_r50.pth --output vistr_r50_d2video.safetensors
"""

from d2video.cli.convert import main

if __name__ == "__main__":
    main()
