"""Names of official checkpoints for the parameters of :class:`TrackFormer`, and their class rows."""

import re
from functools import partial

from d2video.projects.detr.converter import (
    OTHER_DETR_CLASSES,
    coco_names,
    foreign_name,
    segmentation_name,
)
from d2video.projects.trackformer.network.widening import widener
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat, State
from d2video.checkpoint.recognition import (
    MODEL_SIGNATURES,
    MODEL_SIZES,
    OTHER_CLASSES,
    ModelSize,
)

# Class rows of official COCO files, "no object" not counted: detectors and panoptic models. A row's
# number is the id of its category.
_COCO_ROWS = (91, 250)
_COCO_IDS = [category["id"] for category in COCO_CATEGORIES if category["isthing"]]


def trackformer_name(name: str) -> str:
    """In the official TrackFormer, Deformable DETR and DETR files; ours differ in the backbone, the
    mask branch and the places of a few modules."""
    own = name.removeprefix("network.")
    part, _, rest = own.partition(".")
    if part == "two_stage":
        return f"transformer.{rest}"
    if part == "reference_points":
        return f"transformer.{own}"
    if part == "track_attention":
        return f"transformer.decoder.layers_track_attention.{rest}"
    return foreign_name(name)


_CLASS_HEAD = re.compile(r"(detr\.)?class_embed\.(\d+\.)?(weight|bias)")


def _class_heads(state: State) -> list[str]:
    """The parameters with a row for each class."""
    return [n for n, value in state.items() if _CLASS_HEAD.fullmatch(n) and value.dim() > 0]


def _offset_unit(model: State, unit: str) -> list[str]:
    if "transformer.level_embed" not in model:
        return []
    return [
        f"sampling offsets: files of this format need MODEL.TRACKFORMER.DEFORMABLE.OFFSET_UNIT "
        f"{unit}, now and in every training that starts from them"
    ]


def adapt_trackformer(state: State, model: State) -> tuple[State, list[str]]:
    """Older files have "detr." before their names; class rows stay."""
    state = {name.removeprefix("detr."): value for name, value in state.items()}
    notes = [
        f"class rows: all as in the file, whose class c is category id c + 1 (person: 0); {name} "
        f"has {len(state[name])}"
        for name in _class_heads(model)[:1]
        if name in _class_heads(state)
    ]
    return state, notes + _offset_unit(model, "hw")


def adapt_deformable_detr(state: State, model: State) -> tuple[State, list[str]]:
    """Rows of the COCO classes; no row for "no object"."""
    state, notes = _choose_rows(state, model, no_object=0)
    return state, notes + _offset_unit(model, "wh")


def adapt_detr(state: State, model: State) -> tuple[State, list[str]]:
    """Rows of the COCO classes, "no object" last."""
    return _choose_rows(state, model, no_object=1)


def _choose_rows(state: State, model: State, no_object: int) -> tuple[State, list[str]]:
    """The model's classes out of COCO's: its K classes are the category ids 1 to K, as TrackFormer
    numbers them, or, if K is 80, the categories in their order, as detectron2 does.

    The official TrackFormer takes rows 0 to K - 1 of such files: its person is then the row of
    the unused id 0.
    """
    state, notes = dict(state), dict[str, None]()  # the notes are a set that keeps the order
    heads = [name for name in _class_heads(model) if name in _class_heads(state)]
    # Of a two-stage model the last head tells objects from background by its row 0.
    proposals = ""
    if heads and "transformer.enc_output.weight" in model:
        proposals = f"class_embed.{max(int(name.split('.')[1]) for name in heads)}."
    for name in heads:
        in_file, wanted = (len(tensor) - no_object for tensor in (state[name], model[name]))
        if in_file not in _COCO_ROWS or wanted > in_file:
            continue  # its shape will tell
        ids, rule = list(range(1, wanted + 1)), "class c is category id c + 1 (person: 0)"
        if wanted == in_file:
            ids, rule = list(range(wanted)), "class c is category id c (person: 1, no class 0)"
        elif wanted == len(_COCO_IDS):
            ids, rule = _COCO_IDS, "class c is the category of place c in the list (person: 0)"
        kind = "class rows"
        if proposals and name.startswith(proposals):
            ids, rule, kind = list(range(wanted)), "row 0 is any object", "rows of proposals"
        state[name] = state[name][ids + [in_file] * no_object]
        last = ' and the last, "no object",' if no_object else ""
        notes[f"{kind}: {_ranges(ids)} of the file's {in_file}{last} are taken: {rule}"] = None
    return state, list(notes)


def _of_coco(state: State, model: State, no_object: int) -> bool:
    """Whether a file's class heads are COCO's, ``no_object`` rows not counted."""
    return any(len(state[name]) - no_object in _COCO_ROWS for name in _class_heads(state))


def _of_a_tracker(state: State, model: State) -> bool:
    """A tracker's class heads have the rows of the model; only of a detector's some are taken."""
    same = all(state[n].shape == model[n].shape for n in _class_heads(model) if n in state)
    return same or not (_of_coco(state, model, 0) or _of_coco(state, model, 1))


def _ranges(numbers: list[int]) -> str:
    """[1, 2, 3, 5] to "1-3, 5"."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends))


_NO_MASKS = ("network.mask_branch.",)
_ONLY_DEFORMABLE = ("network.reference_points.", "network.two_stage.")
_NO_MERGING = ("network.merge_features.",)
_NO_TRACKS = ("network.track_attention.",)
_DETECTOR_PARTS = [
    "backbone",
    "transformer",
    "input_proj",
    "query_embed",
    "class_embed",
    "bbox_embed",
]
_DETECTOR = tuple(f"network.{part}." for part in _DETECTOR_PARTS)
# Second names of tensors that the files also have under a first one, and queries that a two-stage
# model does not use.
_NO_USE = ("query_embed.", "transformer.decoder.class_embed.")

CONVERTER_REGISTRY["TrackFormer"] = {
    "trackformer": CheckpointFormat(
        "official TrackFormer",
        trackformer_name,
        not_in_model=_NO_USE,
        class_names={rows: ["person", *[""] * (rows - 1)] for rows in (20, 21)},
        adapt=adapt_trackformer,
        widen=widener,
        is_of=_of_a_tracker,
    ),
    # A tracker can start from a detector: what the detector lacks is randomly initialised.
    "deformable_detr": CheckpointFormat(
        "official Deformable DETR",
        trackformer_name,
        not_in_file=(*_NO_MASKS, *_NO_MERGING),
        not_in_model=_NO_USE,
        adapt=adapt_deformable_detr,
        widen=widener,
        is_of=partial(_of_coco, no_object=0),
    ),
    "detr": CheckpointFormat(
        "official DETR detection",
        trackformer_name,
        not_in_file=(*_NO_MASKS, *_NO_TRACKS, *_ONLY_DEFORMABLE),
        adapt=adapt_detr,
        is_of=partial(_of_coco, no_object=1),
    ),
    "detr_segm": CheckpointFormat(
        "official DETR with masks or panoptic",
        segmentation_name,
        not_in_file=(*_NO_TRACKS, *_ONLY_DEFORMABLE),
        adapt=adapt_detr,
        is_of=partial(_of_coco, no_object=1),
    ),
    "detr_segm_masks": CheckpointFormat(
        "the mask head of an official DETR with masks, for a detector given with --base",
        segmentation_name,
        not_in_file=(*_DETECTOR, *_NO_TRACKS),
        not_in_model=("detr.",),
        by_name_only=True,
    ),
    "own": CheckpointFormat("a TrackFormer of this library", str, widen=widener),
}

CONVERTER_REGISTRY["DeformableDETR"] = {
    "deformable_detr": CheckpointFormat(
        "official Deformable DETR",
        trackformer_name,
        not_in_model=_NO_USE,
        class_names={91: coco_names(91)},
    ),
}

_DEFORMABLE = [
    ("network.class_embed.0.weight", "network.two_stage.enc_output.weight"),
    (
        "network.query_embed.weight",
        "network.class_embed.0.weight",
        "network.reference_points.weight",
    ),
]
MODEL_SIGNATURES["TrackFormer"] = [
    *_DEFORMABLE,
    (
        "network.query_embed.weight",
        "network.class_embed.weight",
        "network.track_attention.0.linear1.weight",
    ),
]
# Whose names are the same as those of a TrackFormer with deformable attention.
MODEL_SIGNATURES["DeformableDETR"] = _DEFORMABLE

_TRACKED = "MODEL.TRACKFORMER.NUM_CLASSES"
MODEL_SIZES["TrackFormer"] = [
    ModelSize(_TRACKED, "network.class_embed.bias", 1, OTHER_CLASSES),
    ModelSize(_TRACKED, "network.class_embed.0.bias", 0, OTHER_CLASSES),
    ModelSize("MODEL.TRACKFORMER.NUM_QUERIES", "network.query_embed.weight"),
]
MODEL_SIZES["DeformableDETR"] = [
    ModelSize("MODEL.DETR.NUM_CLASSES", "network.class_embed.0.bias", 0, OTHER_DETR_CLASSES),
    ModelSize("MODEL.DETR.NUM_QUERIES", "network.query_embed.weight"),
]
