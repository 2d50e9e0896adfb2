"""TrackFormer's inside on a video: its tracks, their scores, and where their queries look."""

from collections.abc import Iterator, Sequence

import numpy as np
from d2video.projects.trackformer.inspection_matching import matching_sections
from d2video.projects.trackformer.inspection_tracks import Step, follow, score_courses
from d2video.projects.trackformer.trackformer import TrackFormer

from d2video.inspection import Look, sections, shown
from d2video.inspection.drawing import boxed, sheet
from d2video.report import Chart, Section, Table
from d2video.utils.errors import UserError
from d2video.visualization.primitives import label_of_class, track_colour

_FRAMES = 24  # that are looked at, unless --frames says how many
_CELLS = 8  # pictures of a strip
_COLUMNS = 4
_CURVES = 8  # the page has as many colours


@sections.register
def inspect_trackformer(model: TrackFormer, look: Look) -> Iterator[Section]:
    """The page of TrackFormer; see :mod:`d2video.inspection`."""
    look.takes("tracks", "layer", "frames", "data")
    layer = look.layer_of("decoder", len(model.network.transformer.decoder.layers))
    frames = look.frames(_FRAMES)
    steps = [*follow(model, (look.inputs([frame])[0] for frame in frames), layer)]
    every = lengths_of_tracks(steps)
    found = lengths_of_tracks(steps, look.score) or every
    for track in look.tracks:
        if track not in every:
            listed = ", ".join(map(str, sorted(every))) or "none"
            raise UserError(
                f"track {track} does not exist in these {len(steps)} frames: the model found {listed}"
            )
    yield _tracks_section(steps, look, frames, found)
    for track in dict.fromkeys(look.tracks or [*found][:1]):
        yield _attention_section(track, steps, look, frames, layer)
    if look.cfg is None:
        note = "Which queries get which objects in training needs labels: name a dataset by --data."
        yield Section("Matching in training", [note])
    else:
        yield from matching_sections(model, look, look.cfg)


def lengths_of_tracks(steps: Sequence[Step], least: float = 0.0) -> dict[int, int]:
    """In how many frames each track is active, the longest first.

    Args:
        steps: of a video.
        least: mean score of a track; others are left out.
    """
    scores: dict[int, list[float]] = {}
    for step in steps:
        for track, score in zip(step.ids.tolist(), step.scores.tolist(), strict=True):
            scores.setdefault(track, []).append(score)
    lengths = {track: len(s) for track, s in scores.items() if sum(s) / len(s) >= least}
    return dict(sorted(lengths.items(), key=lambda item: (-item[1], item[0])))


def _tracks_section(
    steps: list[Step], look: Look, frames: list[np.ndarray], lengths: dict[int, int]
) -> Section:
    """The tracks of some lengths, in pictures, by numbers and by their scores."""
    if not lengths:
        key = "MODEL.TRACKFORMER.TRACKER.DETECTION_SCORE_THRESH"
        return Section("Tracks", [f"The model found no track in these frames: lower {key}."])
    places = _spread([*range(len(steps))])
    drawn = []
    for place in places:
        picture, step = shown(frames[place]), steps[place]
        for track, box in zip(step.ids.tolist(), step.boxes, strict=True):
            picture = boxed(picture, box, track_colour(track), str(track))
        drawn.append(picture)
    titles = [f"frame {look.first + place}" for place in places]
    media = [look.media("tracks", sheet(drawn, titles, _COLUMNS), "the tracks", wide=True)]
    active, inactive = score_courses(steps, look.first)
    charts = [
        Chart(title, {f"track {track}": courses.get(track, []) for track in [*lengths][:_CURVES]})
        for title, courses in (
            ("scores of active tracks", active),
            ("scores of inactive tracks", inactive),
        )
    ]
    rows: list[list[str | float | None]] = []
    for track, length in lengths.items():
        seen = [place for place, step in enumerate(steps) if track in step.ids]
        scores = [float(steps[place].scores[steps[place].ids == track]) for place in seen]
        classes = steps[seen[-1]].classes[steps[seen[-1]].ids == track]
        row: list[str | float | None] = [
            track,
            label_of_class(int(classes), look.predictor.class_names),
        ]
        row += [look.first + seen[0], look.first + seen[-1], length, len(inactive.get(track, []))]
        rows.append([*row, sum(scores) / length])
    header = ["track", "class", "first frame", "last frame", "active", "inactive", "mean score"]
    note = (
        "The curves show the score of a track's own query in each frame. An active track whose score falls "
        "below the tracker's threshold becomes inactive; its query is asked on for as many frames as "
        "INACTIVE_PATIENCE says."
    )
    table = Table("tracks, and in how many frames they are active and inactive", header, rows, 2)
    return Section("Tracks", [note], media, [table], charts)


def _attention_section(
    track: int, steps: list[Step], look: Look, frames: list[np.ndarray], layer: int
) -> Section:
    """Strips of a track over the frames: its own, and those before each that the decoder looks at."""
    places = _spread([place for place, step in enumerate(steps) if track in step.ids])
    rows = [int((steps[place].ids == track).nonzero()) for place in places]
    count = steps[places[0]].attention.weights.shape[2]
    media = []
    for back in range(count):
        drawn, titles = [], []
        for place, row in zip(places, rows, strict=True):
            step, seen = steps[place], max(place - back, 0)
            picture = step.attention.picture(shown(frames[seen]), row, time=back)
            drawn.append(boxed(picture, step.boxes[row]))
            share = f", {step.attention.by_frame(row)[back]:.0%}" if count > 1 else ""
            titles.append(f"frame {look.first + place}: {step.scores[row]:.2f}{share}")
        name, where = f"track{track}", "each frame"
        if back:
            name, where = f"{name}_before{back}", f"the frame that lies {back} before each frame"
        media.append(look.media(name, sheet(drawn, titles, _COLUMNS), where, wide=True))
    note = (
        f"Where the query of track {track} looks in layer {layer} of the decoder, over all heads, with the "
        "box and the score that it predicts."
    )
    if count > 1:
        note += " The percentage is the share of all weights that the frame in the picture has."
    return Section(f"Attention of track {track}", [note], media)


def _spread(places: list[int]) -> list[int]:
    """At most ``_CELLS`` of the places, evenly spread."""
    count = min(_CELLS, len(places))
    return [places[i] for i in np.linspace(0, len(places) - 1, count).round().astype(int)]
