#!/usr/bin/env python3
"""Install detectron2 where there is none, from PyPI and without a compiler::

tools/install_detectron2.py --constraint constraints.txt
"""

from d2video.cli.install_detectron2 import main

if __name__ == "__main__":
    main()
