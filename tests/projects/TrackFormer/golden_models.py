"""Networks with the sizes and weights of TrackFormer's golden files (tests/golden/README.md)."""

import json
from itertools import pairwise

import numpy as np
import torch
from d2video.projects.trackformer import TrackFormer
from d2video.projects.trackformer.converter import trackformer_name
from d2video.projects.trackformer.network.deformable_network import DeformableTrackingNetwork
from d2video.projects.trackformer.network.detr_network import DETRTrackingNetwork
from d2video.projects.trackformer.tracker.tracker import Tracker
from d2video.projects.trackformer.training.official import OfficialTrackQuerySampler
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import SinePositionEncoding, Transformer
from d2video.layers.deformable_transformer import DeformableTransformer
from d2video.modeling.criterion import BoxLoss, ClassificationLoss, MaskLoss, SetCriterion
from d2video.modeling.losses import CrossEntropy, Focal
from d2video.modeling.matcher import HungarianMatcher, MatchingCost
from tests.helpers.golden_io import GOLDEN

CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 32}


class TinyBackbone(Backbone):
    """The golden models' convolutions of strides 4, 8, 16 and 32."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=4, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm2d(8)
        channels = [8, *CHANNELS.values()]
        for index, (inputs, outputs) in enumerate(pairwise(channels), start=1):
            conv = nn.Conv2d(
                inputs, outputs, 3, stride=1 if index == 1 else 2, padding=1, bias=False
            )
            layer = nn.Sequential(conv, FrozenBatchNorm2d(outputs), nn.ReLU())
            self.add_module(f"layer{index}", layer)
        for frozen in ("conv1", "layer1"):  # officially
            self.get_submodule(frozen).requires_grad_(False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.bn1(self.conv1(x)).relu()
        outputs = {}
        for index, name in enumerate(CHANNELS, start=1):
            x = self.get_submodule(f"layer{index}")(x)
            outputs[name] = x
        return outputs

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            name: ShapeSpec(channels=channels, stride=4 * 2**index)
            for index, (name, channels) in enumerate(CHANNELS.items())
        }


def load_golden(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict]:
    """Official weights by name, arrays by name, and the file's config."""
    archive = np.load(GOLDEN / f"trackformer_{name}.npz", allow_pickle=False)
    config = json.loads(str(archive["config"]))
    weights, arrays = {}, {}
    for key in archive.files:
        if key.startswith("sd/"):
            weights[key[3:]] = torch.from_numpy(archive[key])
        elif key != "config":
            arrays[key] = torch.from_numpy(archive[key])
    if "images" in config:
        arrays.update(load_golden("3_tracking_images")[1])
    return weights, arrays, config


def build_network(args: dict) -> nn.Module:
    """The network that the official arguments describe, with random weights."""
    width = args["hidden_dim"]
    common = {"backbone": TinyBackbone(), "num_queries": args["num_queries"]}
    sizes = (width, args["nheads"], args["enc_layers"], args["dec_layers"], args["dim_feedforward"])
    if args["deformable"]:
        frames = 2 if args["multi_frame_attention"] else 1
        return DeformableTrackingNetwork(
            in_features=["res3", "res4", "res5"],
            lateral_features=["res2", "res3", "res4"] if args["masks"] else [],
            transformer=DeformableTransformer(
                *sizes,
                0.0,
                num_levels=args["num_feature_levels"],
                num_frames=frames,
                encoder_points=args["enc_n_points"],
                decoder_points=args["dec_n_points"],
                offset_unit="hw",
                separate_encoder=args.get("multi_frame_attention_separate_encoder", True),
            ),
            num_logits=20,
            box_refine=args["with_box_refine"],
            two_stage=args["two_stage"],
            merge_frame_features=args.get("merge_frame_features", False),
            **common,
        )
    return DETRTrackingNetwork(
        in_features=["res2", "res3", "res4", "res5"] if args["masks"] else ["res5"],
        transformer=Transformer(*sizes, dropout=0.0, pre_norm=args["pre_norm"]),
        position_encoding=SinePositionEncoding(width, num_axes=2, offset=-0.5),
        num_classes=20,
        mask_on=args["masks"],
        track_attention=args["track_attention"],
        **common,
    )


def golden_network(weights: dict[str, Tensor], config: dict) -> nn.Module:
    """The network with the golden weights, in evaluation mode; every one of them is used."""
    network = build_network(config["args"])
    own = network.state_dict()
    names = {name: official_name(name) for name in own}
    heads = "transformer.decoder.bbox_embed."
    weights = weights | {
        name: weights[name.removeprefix("transformer.decoder.")]
        for name in names.values()
        if name.startswith(heads)
    }
    assert set(names.values()) == set(weights), set(names.values()) ^ set(weights)
    network.load_state_dict({name: weights[theirs].float() for name, theirs in names.items()})
    return network.eval()


def golden_model(
    network: nn.Module, config: dict, *, tracker: Tracker | None = None
) -> TrackFormer:
    """The meta-architecture around a golden network, with the official losses, for images that are
    normalised already; in evaluation mode."""
    args, weight_dict = config["args"], config.get("weight_dict", {})
    focal = args["focal_loss"]
    return TrackFormer(
        network=network,
        criterion=golden_criterion(20, focal, args["eos_coef"], weight_dict),
        matcher=HungarianMatcher(MatchingCost(args["set_cost_class"], focal=focal)),
        sampler=OfficialTrackQuerySampler(
            args["track_query_false_negative_prob"], args["track_query_false_positive_prob"]
        ),
        tracker=tracker or Tracker(),
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
    ).eval()


def golden_criterion(
    num_classes: int, focal: bool, no_object_weight: float, weights: dict[str, float]
) -> SetCriterion:
    """The official losses with the factors of a golden file, 0 where it has none."""
    loss = Focal() if focal else CrossEntropy(no_object_weight)
    names = ("loss_ce", "loss_bbox", "loss_giou", "loss_mask", "loss_dice")
    ce, bbox, giou, mask, dice = (weights.get(name, 0.0) for name in names)
    losses = [ClassificationLoss(loss, ce), BoxLoss(bbox, giou), MaskLoss(mask, dice)]
    return SetCriterion(num_classes, loss, losses)


def official_name(name: str) -> str:
    if name.startswith("backbone."):
        return name.replace("backbone.", "backbone.0.body.", 1)
    return trackformer_name(f"network.{name}")
