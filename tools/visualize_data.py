#!/usr/bin/env python3
"""Draw what the model is fed: training clips after sampling and augmentation, with their targets."""

from d2video.cli.show_data import main

if __name__ == "__main__":
    main()
