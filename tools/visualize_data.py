#!/usr/bin/env python3
"""Draw training samples as the model sees them, with their targets::

tools/visualize_data.py --config-file configs/VisTR/vistr_tiny_shapes.yaml --num-clips 8
"""

from d2video.cli.show_data import main

if __name__ == "__main__":
    main()
