#!/usr/bin/env python3
"""Run a model on a video or on images, and write them annotated, and the predictions as JSON or MOT."""

from d2video.cli.predict import main

if __name__ == "__main__":
    main()
