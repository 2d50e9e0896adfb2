"""Where the objects of a generated video go: paths through the frame, before the camera moves."""

import numpy as np


def _inside(rng: np.random.Generator, frame: np.ndarray, radius: float) -> np.ndarray:
    """A point whose disc of ``radius`` lies in the frame (in its middle where it cannot)."""
    margin = np.minimum(radius, frame / 2)
    return rng.uniform(margin, frame - margin)


def _outside(rng: np.random.Generator, frame: np.ndarray, radius: float) -> np.ndarray:
    """A point beyond one of the four borders, so that nothing of the object is in the frame."""
    point = rng.uniform(0, frame)
    axis = rng.integers(2)
    # 1.6 radii: the reach of a triangle's corner, the farthest of the three usual classes.
    gap = 1.6 * radius
    point[axis] = -gap if rng.random() < 0.5 else frame[axis] + gap
    return point


def _blend(start: np.ndarray, end: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return start + (end - start) * weight[:, None]


def scene_path(
    rng: np.random.Generator, time: np.ndarray, frame: np.ndarray, radius: float
) -> np.ndarray:
    """A path of one object in time 0..1: it stays, enters, leaves, or leaves and returns."""
    kind = rng.choice(["stay", "enter", "leave", "return"], p=[0.4, 0.2, 0.2, 0.2])
    start, end = _inside(rng, frame, radius), _inside(rng, frame, radius)
    if kind == "stay":
        return _blend(start, end, time)
    outside = _outside(rng, frame, radius)
    if kind == "return":
        # Out and back with a rest outside, never more than two fifths of the time.
        away = np.clip((1 - np.abs(2 * time - 1)) * rng.uniform(1.2, 1.6), 0, 1)
        return _blend(_blend(start, end, time), outside[None], away)
    delay = rng.uniform(0, 0.3)
    clock = np.clip((time - delay) / (1 - delay), 0, 1)
    # Twice as fast on the way, so that the object is well in view for half of the time or more.
    entering = _blend(outside, start, np.clip(2 * clock, 0, 1)) + _blend(
        np.zeros(2), 0.3 * (end - start), clock
    )
    return entering if kind == "enter" else entering[::-1]


def crossing_paths(
    rng: np.random.Generator, time: np.ndarray, frame: np.ndarray, radius: float
) -> list[np.ndarray]:
    """Two paths through one point near the middle of the frame and of the time."""
    meeting = frame * rng.uniform(0.35, 0.65, 2)
    direction = rng.uniform(0, 2 * np.pi) + np.array([0, rng.uniform(0.6, 1.4) * np.pi])
    middle = rng.uniform(0.4, 0.6)
    paths = []
    for angle in direction:
        reach = frame * np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.6, 0.85)
        paths.append(meeting + reach * (time - middle)[:, None])
    return paths


def roaming_path(
    rng: np.random.Generator,
    length: int,
    frame: np.ndarray,
    radius: float,
    step: float,
    leaving: float,
    via: tuple[np.ndarray, float] | None = None,
) -> np.ndarray:
    """A path of one object at a constant speed from one random point to the next.

    Now and then the point is beyond a border: the object rests there for up to a fifth of the video
    and comes back.

    Args:
        length: L, number of frames.
        frame: its width and height, in pixels.
        radius: of the object, in pixels.
        step: pixels from one frame to the next, above 0.
        leaving: share of the points beyond a border, among those after one inside.
        via: a point (2,) and the frame number at which the object is there; random if None.

    Returns float (L, 2), x and y.
    """
    if via is None:
        via = _inside(rng, frame, radius), rng.uniform(0, length)
    # Forwards from that point on, then backwards, each time until the video is over.
    sides = []
    for direction in (1, -1):
        (point, moment), away = via, False
        moments, points = [moment], [point]
        while 0 <= moment < length:
            away = not away and rng.random() < leaving
            there = (_outside if away else _inside)(rng, frame, radius)
            moment += direction * float(np.linalg.norm(there - point)) / step
            moments.append(moment)
            points.append(there)
            if away:
                moment += direction * rng.uniform(0, 0.2) * length
                moments.append(moment)
                points.append(there)
            point = there
        sides.append((moments[::direction], points[::direction]))
    (later, onward), (earlier, before) = sides
    knots, stops = np.array(earlier[:-1] + later), np.stack(before[:-1] + onward)
    time = np.arange(length)
    return np.stack([np.interp(time, knots, stops[:, axis]) for axis in (0, 1)], axis=1)


def meeting_paths(
    rng: np.random.Generator,
    length: int,
    frame: np.ndarray,
    radii: np.ndarray,
    steps: np.ndarray,
    leaving: float,
) -> list[np.ndarray]:
    """Roaming paths that meet near the middle of the frame, in a frame near the middle of the video."""
    meeting = frame * rng.uniform(0.35, 0.65, 2), float(round(rng.uniform(0.4, 0.6) * (length - 1)))
    return [
        roaming_path(rng, length, frame, *each, leaving, meeting)
        for each in zip(radii, steps, strict=True)
    ]
