"""Names of official checkpoints for the parameters of :class:`TrackFormer`."""

from d2video.checkpoint.convert import CONVERTER_REGISTRY, CheckpointFormat
from d2video.projects.detr.converter import foreign_name


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


_NO_MASKS = ("network.mask_branch.",)
_NO_TRACKS = (*_NO_MASKS, "network.track_attention.")

CONVERTER_REGISTRY.add(
    "TrackFormer",
    {
        "trackformer": CheckpointFormat("official TrackFormer", trackformer_name),
        # A tracker can start from a detector: what the latter lacks starts anew.
        "deformable_detr": CheckpointFormat(
            "official Deformable DETR", trackformer_name, not_in_file=_NO_MASKS
        ),
        "detr": CheckpointFormat("official DETR", trackformer_name, not_in_file=_NO_TRACKS),
    },
)
