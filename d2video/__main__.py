"""``python -m d2video``: the command ``d2video``."""

from d2video.cli import main

if __name__ == "__main__":
    main()
