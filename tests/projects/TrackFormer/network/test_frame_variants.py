"""Two official variants of multi-frame models: frames merged, and one encoder over both of them."""

import pytest
import torch
from d2video.projects.trackformer.network.base import TrackQueries

from d2video.structures.padding import pad_clips
from tests.projects.TrackFormer.golden_models import (
    build_network,
    golden_network,
    load_golden,
    official_name,
)
from tests.projects.TrackFormer.network.plain_deformable import PlainNetwork
from tests.projects.TrackFormer.network.test_golden_network import close, run

JOINT = {"multi_frame_attention": True, "multi_frame_attention_separate_encoder": False}
MERGED = {"merge_frame_features": True}
VARIANTS = {
    "joint": JOINT,
    "merged": MERGED | {"multi_frame_attention": False},
    "merged_with_five_levels": MERGED
    | {"multi_frame_attention": False, "num_feature_levels": 5, "with_box_refine": False},
    "merged_and_attended": MERGED | {"multi_frame_attention": True},
    "merged_and_joint": MERGED | JOINT,
}
OFFICIAL = {"merge_frame_features": False, "multi_frame_attention_separate_encoder": True}
SMALL = {"enc_layers": 1, "dec_layers": 2, "num_queries": 5}


def random_network(args: dict):
    """No weight as it starts: those of deformable attention would be zero."""
    torch.manual_seed(0)
    network = build_network(args).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def plain(network, args: dict) -> PlainNetwork:
    return PlainNetwork({official_name(n): v for n, v in network.state_dict().items()}, args)


def frames_of(data: dict):
    """Two images of two frames each, the second image padded."""
    clips = [
        torch.stack([data[f"train/prev_image{b}"], data[f"train/cur_image{b}"]]) for b in range(2)
    ]
    canvas, padding = pad_clips(clips)
    return canvas[:, 0], canvas[:, 1], padding


def same(output, expected) -> None:
    logits, boxes, embeddings = expected
    close(output.logits, torch.stack(logits))
    close(output.boxes, torch.stack(boxes))
    close(output.embeddings, embeddings)


@torch.no_grad()
def test_the_plain_network_is_the_official_one():
    """With the encoder by frame, of which there are golden arrays."""
    weights, data, config = load_golden("3_tracking_b_deformable_multi_frame")
    network = golden_network(weights, config)
    reference = plain(network, config["args"] | OFFICIAL)
    features = [network.features(data[f"inf/frame{n}"][None], None).maps for n in (1, 2)]
    tracks = (data["inf/track_query_hs_embeds"][None], data["inf/track_query_boxes"][None])
    none = torch.zeros(1, *data["inf/frame1"].shape[-2:], dtype=torch.bool)
    for given, name in (
        ((features[0], None, none), "out1"),
        ((*features[::-1], none, tracks), "out2"),
    ):
        logits, boxes, embeddings = reference(*given)
        close(logits[-1], data[f"inf/{name}/pred_logits"])
        close(boxes[-1], data[f"inf/{name}/pred_boxes"])
        close(embeddings, data[f"inf/{name}/hs_embed"])


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_variants_equal_the_plain_network(variant):
    _, data, config = load_golden("3_tracking_b_deformable_multi_frame")
    args = config["args"] | SMALL | OFFICIAL | VARIANTS[variant]
    network = random_network(args)
    reference = plain(network, args)
    previous, current, padding = frames_of(data)
    first, earlier, seen = run(network, previous, padding)
    same(first, reference(seen.maps, None, padding))
    tracks = (first.embeddings[:, :3], first.boxes[-1, :, :3])
    second, _, features = run(network, current, padding, [earlier], TrackQueries(*tracks))
    same(second, reference(features.maps, seen.maps, padding, tracks))
    # The previous frame counts.
    alone = run(network, current, padding, [], TrackQueries(*tracks))[0]
    assert (alone.logits - second.logits).abs().max() > 0.01


def test_names_and_sizes_are_official():
    """Of parameters that only the variants have, or have in another size."""
    _, _, config = load_golden("3_tracking_b_deformable_multi_frame")
    args = config["args"] | OFFICIAL | MERGED | JOINT
    found = {official_name(n): tuple(v.shape) for n, v in build_network(args).state_dict().items()}
    assert {name: shape for name, shape in found.items() if name.startswith("merge_")} == {
        f"merge_features.{level}.{kind}": shape
        for level in range(4)
        for kind, shape in (("weight", (96, 192, 1, 1)), ("bias", (96,)))
    }
    # 8 heads, 2 · 4 levels, 4 points.
    attention = "transformer.encoder.layers.0.self_attn."
    assert found[f"{attention}sampling_offsets.weight"] == (512, 96)
    assert found[f"{attention}attention_weights.weight"] == (256, 96)
