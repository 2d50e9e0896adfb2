"""A detector that reads its answers from a script, in place of a network.

The script (tests/golden/trackformer_5_tracker_world.json) says for each frame how each of 8 objects looks to
a track query, and which of the object queries see something. A track query is of the object whose
number its embedding spells, so the answer does not depend on the order of the queries.
"""

import numpy as np
import torch
import torch.nn.functional as F
from d2video.projects.trackformer.tracker.frame_output import FrameOutput, Owners
from torch import Tensor

NUM_CLASSES = 3
CLUTTER = 7  # the object that idle object queries answer


class ScriptedDetector:
    """One call a frame, from frame 0 on.

    Args:
        world: the parsed file.
        script: "sparse" or "dense".
        masks: answer masks too: ellipses in the boxes.

    Attributes:
        asked: the embeddings and boxes of the track queries, one pair a frame.
        masked_rows: how many masks each frame was asked for.
    """

    def __init__(self, world: dict, script: str, masks: bool = False):
        self.world = world
        self.frames = world["scripts"][script]
        self.masks = masks
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []
        self.masked_rows: list[int] = []

    def __call__(self, embeddings: np.ndarray, boxes: np.ndarray) -> FrameOutput:
        time = len(self.asked)
        self.asked.append((embeddings, boxes))
        seen = {entry["slot"]: entry for entry in self.frames[time]["det"]}
        entries = [self.frames[time]["track"][int(row[:8].argmax())] for row in embeddings]
        num_tracks = len(entries)
        for slot in range(self.world["num_queries"]):
            left = 20.0 + 30 * slot
            idle = {"obj": CLUTTER, "label": 0, "score": 0.03, "box": [left, 10, left + 15, 40]}
            entries.append(seen.get(slot, idle))

        objects = torch.tensor([entry["obj"] for entry in entries])
        labels = torch.tensor([entry["label"] for entry in entries])
        scores = torch.tensor([entry["score"] for entry in entries], dtype=torch.float64)
        logits = torch.full((len(entries), NUM_CLASSES), 0.02, dtype=torch.float64).logit().float()
        logits[torch.arange(len(entries)), labels] = scores.logit().float()
        best, classes = logits.sigmoid().max(-1)
        height, width = self.world["orig_size"]
        corners = torch.tensor([entry["box"] for entry in entries], dtype=torch.float64)
        low, high = corners[:, :2], corners[:, 2:]
        size = torch.tensor([width, height])
        centres_sizes = torch.cat([(low + high) / 2 / size, (high - low) / size], -1).float()
        hidden = 4.0 * F.one_hot(objects, 16) + 0.05 * time * F.one_hot(8 + objects, 16)
        hidden[:, 15] = 0.3 * (torch.arange(len(entries)) >= num_tracks)

        def masks_of(rows: np.ndarray) -> Owners:
            self.masked_rows.append(len(rows))
            highest, owner = self._masks(centres_sizes[torch.from_numpy(rows)]).max(0)
            return owner.numpy(), highest.numpy()

        return FrameOutput(
            best.numpy(),
            classes.numpy(),
            centres_sizes.numpy(),
            hidden.numpy(),
            masks_of if self.masks else None,
        )

    def _masks(self, boxes: Tensor) -> Tensor:
        """Probabilities at the answer's size, by way of a quarter of the network's input."""
        height, width = self.world["size"]
        y = ((torch.arange(height // 4) + 0.5) / (height // 4))[None, :, None]
        x = ((torch.arange(width // 4) + 0.5) / (width // 4))[None, None]
        centre_x, centre_y, box_width, box_height = boxes[:, :, None, None].unbind(1)
        radius = ((x - centre_x) / (box_width / 2).clamp(min=1e-3)) ** 2
        radius = radius + ((y - centre_y) / (box_height / 2).clamp(min=1e-3)) ** 2
        logits = (4 * (1 - radius)).clamp(-6, 6)
        logits = F.interpolate(logits[None], (height, width), mode="bilinear")[0]
        return F.interpolate(logits.sigmoid()[None], self.world["orig_size"], mode="nearest")[0]
