"""Networks with the sizes and weights of TrackFormer's golden files (tests/golden/README.md)."""

import json

import numpy as np
import torch
from d2video.projects.trackformer.converter import trackformer_name
from d2video.projects.trackformer.deformable_network import DeformableTrackingNetwork
from d2video.projects.trackformer.deformable_transformer import DeformableTransformer
from d2video.projects.trackformer.detr_network import DETRTrackingNetwork
from detectron2.layers import FrozenBatchNorm2d, ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import SinePositionEncoding, Transformer
from tests.golden_io import GOLDEN

CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 32}


class TinyBackbone(Backbone):
    """The golden models' convolutions of strides 4, 8, 16 and 32."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, stride=4, padding=3, bias=False)
        self.bn1 = FrozenBatchNorm2d(8)
        channels = [8, *CHANNELS.values()]
        for index, (inputs, outputs) in enumerate(zip(channels, channels[1:]), start=1):
            conv = nn.Conv2d(inputs, outputs, 3, stride=1 if index == 1 else 2, padding=1, bias=False)
            layer = nn.Sequential(conv, FrozenBatchNorm2d(outputs), nn.ReLU())
            self.add_module(f"layer{index}", layer)

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
    """Official weights by name, arrays by name, and the file's description."""
    archive = np.load(GOLDEN / name)
    meta = json.loads(bytes(archive["meta_json"]).decode())
    weights, arrays = {}, {}
    for key in archive.files:
        if key != "meta_json":
            target, short = (weights, key[3:]) if key.startswith("sd/") else (arrays, key)
            target[short] = torch.from_numpy(archive[key])
    return weights, arrays, meta


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
            ),
            num_logits=20,
            box_refine=args["with_box_refine"],
            two_stage=args["two_stage"],
            **common,
        )
    return DETRTrackingNetwork(
        in_features=["res2", "res3", "res4", "res5"] if args["masks"] else ["res5"],
        transformer=Transformer(*sizes, dropout=0.0, pre_norm=args["pre_norm"]),
        position_encoding=SinePositionEncoding(width, num_axes=2, offset=-0.5),
        num_classes=20,
        mask_on=args["masks"],
        track_attention=args["track_attention"],
        feedforward=args["dim_feedforward"],
        dropout=0.0,
        **common,
    )


def golden_network(weights: dict[str, Tensor], meta: dict) -> nn.Module:
    """The network with the golden weights, in evaluation mode; every one of them is used."""
    network = build_network(meta["args"])
    own = network.state_dict()
    names = {name: official_name(name) for name in own}
    if meta["args"]["two_stage"]:  # whose object queries are the proposals
        del weights["query_embed.weight"]
    heads = "transformer.decoder.bbox_embed."
    weights = weights | {
        name: weights[name.removeprefix("transformer.decoder.")]
        for name in names.values()
        if name.startswith(heads)
    }
    assert set(names.values()) == set(weights), set(names.values()) ^ set(weights)
    network.load_state_dict({name: weights[theirs].float() for name, theirs in names.items()})
    return network.eval()


def official_name(name: str) -> str:
    if name.startswith("backbone."):
        return name.replace("backbone.", "backbone.0.body.", 1)
    return trackformer_name(f"network.{name}")
