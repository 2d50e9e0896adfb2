"""``d2video predict`` with the stub models, as a program.

The environment's ``KILLED`` is "RANK FRAMES": that process of a group kills itself before it answers so
many frames. ``WAITS`` names a file without which process 1 does not begin its second video.
"""

import os
import signal
import sys
import time
from pathlib import Path

from d2video.cli.predict import main
from tests.helpers.stub_video_model import StubTracker

answers = StubTracker.stream_video
count = videos = 0


def stream_video(self, frames, output_size):
    global count, videos
    rank = os.environ.get("RANK", "0")
    victim, number = os.environ.get("KILLED", "none 0").split()
    videos += 1
    while rank == "1" and videos == 2 and not Path(os.environ.get("WAITS", "/")).exists():
        time.sleep(0.05)
    for answer in answers(self, frames, output_size):
        count += 1
        if rank == victim and count == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        yield answer


if __name__ == "__main__":
    StubTracker.stream_video = stream_video
    main(sys.argv[1:])
