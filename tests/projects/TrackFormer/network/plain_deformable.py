"""Deformable DETR with track queries, written out plainly: what our network is compared with where the
golden files have no arrays.

It follows the official forward pass step by step: lists of levels of frame after frame, loops over heads and
levels, weights by their official names. Golden files with one and with two frames hold for it, too.

Shapes: B: images, C: width, S: tokens of all levels of all frames, N: track queries, then object queries.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class PlainNetwork:
    """
    Args:
        weights: by official names.
        args: the official arguments.
    """

    def __init__(self, weights: dict[str, Tensor], args: dict):
        self.weights = weights
        self.args = args
        self.width = args["hidden_dim"]
        self.heads = args["nheads"]

    def __call__(
        self,
        features: list[Tensor],
        previous: list[Tensor] | None,
        mask: Tensor,
        tracks: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """
        Args:
            features, previous: of the backbone, strides 8, 16 and 32; None: no previous frame.
            mask: (B, H, W) bool, True = padding, of both frames.
            tracks: embeddings (B, n, C) and boxes (B, n, 4).

        Returns:
            logits and boxes of each layer, and the last layer's embeddings.
        """
        previous = features if previous is None else previous
        frames = [previous, features] if self.args["multi_frame_attention"] else [features]
        levels, masks, positions = [], [], []
        for number, frame in enumerate(frames):
            own_masks: list[Tensor] = []
            for level in range(self.args["num_feature_levels"]):
                source = self._level(level, frame, previous, levels)
                of = mask if level < 3 else own_masks[0]
                own_masks.append(F.interpolate(of[None].float(), size=source.shape[-2:])[0].bool())
                levels.append(source)
                positions.append(self._position(own_masks[-1], number))
            masks += own_masks
        shapes = [level.shape[-2:] for level in levels]
        tokens, position = (
            torch.cat([each.flatten(2).transpose(1, 2) for each in group], dim=1)
            for group in (
                levels,
                [
                    p + row[:, None, None]
                    for p, row in zip(positions, self.weights["transformer.level_embed"])
                ],
            )
        )
        flat_mask = torch.cat([each.flatten(1) for each in masks], dim=1)
        valid = torch.stack(
            [
                torch.stack([(~m[:, 0]).float().mean(1), (~m[:, :, 0]).float().mean(1)], dim=-1)
                for m in masks
            ],
            dim=1,
        )
        joint = not self.args["multi_frame_attention_separate_encoder"]
        parts = 1 if joint or len(frames) == 1 else 2
        cut, some = tokens.shape[1] // parts, len(shapes) // parts
        memories = [
            self._encode(
                tokens[:, p * cut : (p + 1) * cut],
                position[:, p * cut : (p + 1) * cut],
                shapes[p * some : (p + 1) * some],
                valid[:, p * some : (p + 1) * some],
                flat_mask[:, p * cut : (p + 1) * cut],
            )
            for p in range(parts)
        ]
        memory = torch.cat(memories[::-1], dim=1)
        return self._decode(memory, shapes, valid, flat_mask, tracks)

    def _level(
        self, level: int, frame: list[Tensor], previous: list[Tensor], levels: list[Tensor]
    ) -> Tensor:
        if level > 3:
            return self._project(level, levels[-1])
        source = self._project(level, frame[min(level, 2)])
        if not self.args["merge_frame_features"]:
            return source
        other = self._project(level, previous[min(level, 2)])
        return self._conv(torch.cat([source, other], dim=1), f"merge_features.{level}")

    def _project(self, level: int, x: Tensor) -> Tensor:
        name = f"input_proj.{level}"
        x = self._conv(x, f"{name}.0", **({"stride": 2, "padding": 1} if level > 2 else {}))
        return F.group_norm(x, 32, self.weights[f"{name}.1.weight"], self.weights[f"{name}.1.bias"])

    def _conv(self, x: Tensor, name: str, **options) -> Tensor:
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **options)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, (self.width,), weight, bias)

    def _position(self, mask: Tensor, frame: int) -> Tensor:
        """(B, C, H, W): of rows and columns, before them of the frame where there are two."""
        two = self.args["multi_frame_attention"]
        shift = 0.0 if two else 0.5
        axes = []
        if two:
            axes.append(torch.full(mask.shape, (frame + 1) / (2 + 1e-6)))
        for axis in (1, 2):
            number = (~mask).float().cumsum(axis)
            axes.append((number - shift) / (number.narrow(axis, -1, 1) + 1e-6))
        each = self.width // len(axes)
        channels = []
        for value in axes:
            for index in range(each):
                angle = value * 2 * math.pi / 10000 ** (2 * (index // 2) / each)
                channels.append(angle.cos() if index % 2 else angle.sin())
        return torch.stack(channels, dim=1)

    def _attend(
        self,
        name: str,
        query: Tensor,
        reference: Tensor,
        source: Tensor,
        shapes: list[torch.Size],
        mask: Tensor,
        points: int,
    ) -> Tensor:
        """Deformable attention of queries (B, N, C) with references (B, N, levels, 2 or 4)."""
        batch, count, _ = query.shape
        value = self._linear(source, f"{name}.value_proj").masked_fill(mask[..., None], 0)
        layout = (batch, count, self.heads, len(shapes), points)
        offsets = self._linear(query, f"{name}.sampling_offsets").view(*layout, 2)
        weights = self._linear(query, f"{name}.attention_weights")
        weights = weights.view(batch, count, self.heads, -1).softmax(-1).view(layout)
        size = self.width // self.heads
        summed = torch.zeros(batch, count, self.heads, size)
        start = 0
        for level, (height, width) in enumerate(shapes):
            area = value[:, start : start + height * width].view(batch, height, width, -1)
            start += height * width
            where = reference[:, :, level, None]
            for head in range(self.heads):
                if where.shape[-1] == 2:  # x by the height, as the official code has it
                    step = offsets[:, :, head, level] / torch.tensor([height, width])
                else:
                    step = offsets[:, :, head, level] / points * where[..., 2:] * 0.5
                grid = 2 * (where[..., :2] + step) - 1
                own = area[..., head * size : (head + 1) * size].permute(0, 3, 1, 2)
                samples = F.grid_sample(own, grid, align_corners=False)
                weighted = samples * weights[:, None, :, head, level]
                summed[:, :, head] += weighted.sum(-1).transpose(1, 2)
        return self._linear(summed.flatten(2), f"{name}.output_proj")

    def _feed_forward(self, x: Tensor, name: str, norm: str) -> Tensor:
        hidden = self._linear(x, f"{name}.linear1").relu()
        return self._norm(x + self._linear(hidden, f"{name}.linear2"), f"{name}.{norm}")

    def _encode(
        self,
        x: Tensor,
        position: Tensor,
        shapes: list[torch.Size],
        valid: Tensor,
        mask: Tensor,
    ) -> Tensor:
        centres = []
        for level, (height, width) in enumerate(shapes):
            y, x_ = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            grid = torch.stack([(x_ + 0.5) / width, (y + 0.5) / height], dim=-1).flatten(0, 1)
            centres.append(grid / valid[:, level, None])
        reference = torch.cat(centres, dim=1)[:, :, None] * valid[:, None]
        for layer in range(self.args["enc_layers"]):
            name = f"transformer.encoder.layers.{layer}"
            points = self.args["enc_n_points"]
            seen = self._attend(
                *(f"{name}.self_attn", x + position, reference, x, shapes, mask, points)
            )
            x = self._feed_forward(self._norm(x + seen, f"{name}.norm1"), name, "norm2")
        return x

    def _decode(
        self,
        memory: Tensor,
        shapes: list[torch.Size],
        valid: Tensor,
        mask: Tensor,
        tracks: tuple[Tensor, Tensor] | None,
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        position, x = self.weights["query_embed.weight"].expand(len(memory), -1, -1).chunk(2, -1)
        reference = self._linear(position, "transformer.reference_points").sigmoid()
        if tracks is not None:
            embeddings, boxes = tracks
            position = torch.cat([torch.zeros_like(embeddings), position], dim=1)
            x = torch.cat([embeddings, x], dim=1)
            reference = torch.cat([boxes[..., :2], reference], dim=1)
        logits, boxes_of = [], []
        for layer in range(self.args["dec_layers"]):
            name = f"transformer.decoder.layers.{layer}"
            x = self._norm(x + self._self_attend(x, position, f"{name}.self_attn"), f"{name}.norm2")
            repeated = valid.repeat(1, 1, reference.shape[-1] // 2)
            seen = self._attend(
                *(f"{name}.cross_attn", x + position, reference[:, :, None] * repeated[:, None]),
                *(memory, shapes, mask, self.args["dec_n_points"]),
            )
            x = self._feed_forward(self._norm(x + seen, f"{name}.norm1"), name, "norm3")
            logits.append(self._linear(x, f"class_embed.{layer}"))
            change = x
            for step in range(3):
                change = self._linear(change, f"bbox_embed.{layer}.layers.{step}")
                change = change if step == 2 else change.relu()
            clamped = reference.clamp(0, 1)
            base = (clamped.clamp(min=1e-5) / (1 - clamped).clamp(min=1e-5)).log()
            base = F.pad(base, (0, 4 - base.shape[-1]))
            boxes_of.append((change + base).sigmoid())
            if self.args["with_box_refine"]:
                reference = boxes_of[-1].detach()
        return logits, boxes_of, x

    def _self_attend(self, x: Tensor, position: Tensor, name: str) -> Tensor:
        weight, bias = (self.weights[f"{name}.in_proj_{kind}"] for kind in ("weight", "bias"))
        inputs = (x + position, x + position, x)
        q, k, v = (
            F.linear(each, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for each, w, b in zip(inputs, weight.chunk(3), bias.chunk(3))
        )
        shares = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return self._linear((shares @ v).transpose(1, 2).flatten(2), f"{name}.out_proj")
