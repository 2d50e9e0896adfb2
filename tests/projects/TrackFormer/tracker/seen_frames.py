"""Frames as a detector answers them, for tests of the tracker's rules."""

import numpy as np
from d2video.projects.trackformer.tracker.frame_output import FrameOutput

SIZE = (80, 100)
BOX = [10.0, 10, 30, 40]
FAR = [60.0, 40, 90, 70]
NEARLY = [10.0, 10, 30, 41]  # overlaps BOX by 30/31


def sees(tracks=None, found=(), classes=None, masks=None, shift=0.0):
    """A detector for one frame.

    Args:
        tracks: object to (score, box) that its track query answers; others: .05, FAR.
        found: (object, score, box) of each object query.
        classes: object to class, 0 if missing.
        masks: object to probabilities (H, W).
        shift: added to all embeddings, which are one-hot.
    """
    tracks, classes = tracks or {}, classes or {}

    def detect(embeddings, boxes):
        assert len(embeddings) == len(boxes)
        objects = [int(row.argmax()) for row in embeddings]
        rows = [(i, *tracks.get(i, (0.05, FAR))) for i in objects] + list(found)
        corners = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
        corners = corners / np.array([SIZE[1], SIZE[0]] * 2, np.float32)
        centre, size = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        detect.called_with = embeddings, boxes

        def masks_of(indices):
            detect.mask_rows = indices.tolist()
            probabilities = np.stack([masks[rows[i][0]] for i in indices])
            return probabilities.argmax(0), probabilities.max(0)

        return FrameOutput(
            scores=np.array([row[1] for row in rows], np.float32),
            classes=np.array([classes.get(row[0], 0) for row in rows], np.int64),
            boxes=np.concatenate([centre, size], -1),
            embeddings=np.eye(8, dtype=np.float32)[[row[0] for row in rows]] + np.float32(shift),
            masks=masks_of if masks else None,
        )

    return detect


def ids(answer):
    return answer.ids.tolist()


def seen(score=0.9, box=BOX):
    return {0: (score, box)}


START = sees(found=[(0, 0.9, BOX)])
NOTHING = sees()


def maps(**values):
    """Object ("o0" …) to a constant probability."""
    return {int(name[1:]): np.full(SIZE, value, np.float32) for name, value in values.items()}
