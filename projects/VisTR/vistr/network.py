"""The VisTR network (Wang et al., CVPR 2021): tensors in, tensors out.

Shapes: B: clips, T: frames, S: slots (instances at most), K: classes, C: transformer width, L: decoder
layers, h: heads, H×W: the padded canvas, H_f×W_f: the transformer's feature map, H_m×W_m: the finest
lateral (stride 4). Queries are frame-major: query t·S + s asks for slot s in frame t.
"""

import math
from functools import partial
from typing import Literal

import torch
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import Transformer
from d2video.layers.group_norm import GroupNorm
from d2video.layers.multi_scale_encoder import MultiScaleEncoder
from d2video.layers.transformer import run
from d2video.modeling.mask_head import (
    MaskHeadSmallConv,
    MHAttentionMap,
    QueryChannels,
    start_without_changes,
)
from d2video.modeling.pixels import channels_last, rows_at_once
from d2video.modeling.predictions import Encoded, Predictions
from d2video.modeling.query_network import QueryNetwork, finest_level
from d2video.structures.padding import resize_paddings
from d2video.utils.transfer import to_device

# What queries share an embedding: see VisTRNetwork.
QueryLevel = Literal["prediction", "instance", "frame", "video"]

# Slots times frames that an exported graph's mask head runs at once, whatever the size of the frames: 36
# of 75×135 hold 0.6 GB.
_EXPORTED_ROWS = 36


class InstanceMaskHead(nn.Sequential):
    """3D convolutions over the frames of one slot (VisTR, sec. 3.3): dilated 3×3×3 ones with group norm,
    then one mask logit a pixel.

    Args:
        in_channels: C; the hidden width is half of it (24 and 12 in the official model).
        num_layers: of the 3×3×3 convolutions; with 0 frames do not see one another.
    """

    def __init__(self, in_channels: int, num_layers: int = 3):
        hidden = max(1, in_channels // 2)
        layers: list[nn.Module] = []
        channels = in_channels
        for _ in range(num_layers):
            layers += [
                nn.Conv3d(channels, hidden, 3, padding=2, dilation=2),
                GroupNorm(math.gcd(4, hidden), hidden),
                nn.ReLU(inplace=True),
            ]
            channels = hidden
        super().__init__(*layers, nn.Conv3d(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(S, T, C, H_m, W_m) to mask logits (S, T, H_m, W_m)."""
        x = features.transpose(1, 2)
        for layer in self:
            # Each again: group norms give contiguous maps.
            x = layer(channels_last(x) if isinstance(layer, nn.Conv3d) else x)
        return x.squeeze(1)


class VisTRNetwork(QueryNetwork):
    """Transformer over all tokens of a clip; masks by 3D convolutions over the frames of a slot.

    Args:
        backbone, in_features, position_encoding, num_classes, deformable_encoder, encoder_features:
            see :class:`QueryNetwork`.
        transformer: of width C.
        num_frames: T; the learned queries are bound to it.
        num_slots: S, the largest number of instances a clip can show.
        query_level: what has a learned embedding (VisTR, table 1): each "prediction", T·S of them, as
            in the official model; each "instance", S of them, shared by all frames; each "frame", T of
            them, shared by all slots; or the "video", one for all.
        conv3d_layers: see :class:`InstanceMaskHead`.
        mask_attention: the mask head sees where a query attends; otherwise its :class:`QueryChannels`.
        mask_width: of the mask head (see :class:`MaskHeadSmallConv`); C if None.
        mask_positions, query_masks: ``use_positions`` and ``query_masks`` of
            :class:`MHAttentionMap`.
        activation_checkpoint: recompute the mask heads in the backward pass.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: list[str],
        transformer: Transformer,
        position_encoding: nn.Module,
        num_frames: int,
        num_slots: int,
        num_classes: int,
        query_level: QueryLevel = "prediction",
        conv3d_layers: int = 3,
        mask_attention: bool = True,
        deformable_encoder: MultiScaleEncoder | None = None,
        encoder_features: int = 1,
        mask_width: int | None = None,
        mask_positions: bool = False,
        query_masks: bool = False,
        activation_checkpoint: bool = False,
    ):
        # Rows of the embeddings, of frames and of slots.
        of_frames = num_frames if query_level in ("prediction", "frame") else 1
        of_slots = num_slots if query_level in ("prediction", "instance") else 1
        super().__init__(
            backbone=backbone,
            in_features=in_features,
            transformer=transformer,
            position_encoding=position_encoding,
            num_queries=num_frames * num_slots,
            num_embeddings=of_frames * of_slots,
            num_classes=num_classes,
            deformable_encoder=deformable_encoder,
            encoder_features=encoder_features,
        )
        self.num_frames = num_frames
        self.num_slots = num_slots
        self.embedded = (of_frames, of_slots)
        self.activation_checkpoint = activation_checkpoint
        width, num_heads = transformer.width, transformer.num_heads
        self.bbox_attention: MHAttentionMap | QueryChannels
        if mask_attention:
            self.bbox_attention = MHAttentionMap(width, num_heads, mask_positions, query_masks)
        else:
            self.bbox_attention = QueryChannels(width, num_heads)
        self.mask_head = MaskHeadSmallConv(
            width, num_heads, self.lateral_channels, mask_width, activation_checkpoint
        )
        self.insmask_head = InstanceMaskHead(self.mask_head.out_channels, conv3d_layers)
        if query_masks:
            start_without_changes(self.insmask_head[-1])

    @property
    def mask_attention(self) -> MHAttentionMap | None:
        attention = self.bbox_attention
        return attention if isinstance(attention, MHAttentionMap) else None

    def learned_queries(self, count: int) -> Tensor:
        """The embeddings of all queries, (T·S, C), frame-major."""
        rows = self.query_embed.weight.unflatten(0, self.embedded)
        return rows.expand(self.num_frames, self.num_slots, -1).flatten(0, 1)[:count]

    def heavy_parts(self) -> list[nn.Module]:
        """The attention maps and the single convolutions before the heads stay as they are."""
        return [*super().heavy_parts(), self.mask_head, self.insmask_head]

    def _frame_features(self, frames: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(N, 3, H, W) to the transformer's levels [(N, C, H_l, W_l)] and the laterals."""
        features = self.backbone(channels_last(frames))
        fine_to_coarse = [features[name] for name in self.lateral_features]
        return self.levels(features), self.mask_head.laterals(fine_to_coarse)

    def _encode_frames(self, frames: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """All frames at once in training. At inference a few at a time: only the levels and the narrow
        laterals are kept, never the wide backbone features of all frames."""
        flat = frames.flatten(0, 1)
        # The widest maps are those of res2: 256 channels at stride 4, 16 elements a pixel.
        parts = self._parts(len(flat), 16 * flat[0, 0].numel())
        levels, laterals = (
            [torch.cat(maps) for maps in zip(*kind)]
            for kind in zip(*(self._frame_features(part) for part in flat.split(parts)))
        )
        return levels, laterals

    def forward(
        self, frames: Tensor, padding: Tensor | None, all_layers: bool = True
    ) -> Predictions:
        """
        Args:
            frames: (B, T, 3, H, W), normalised, 0 where padded.
            padding: (B, H, W) bool, True = padding; None if nothing is padded.
            all_layers: predict from every decoder layer (for auxiliary losses) or only the last.

        Returns:
            predictions of T·S queries a clip; the images of ``encoded`` are the B·T frames.
        """
        batch, num_frames = frames.shape[:2]
        assert num_frames == self.num_frames, (num_frames, self.num_frames)
        levels, laterals = self._encode_frames(frames)
        paddings = resize_paddings(padding, levels)
        by_clip = [level.unflatten(0, (batch, num_frames)) for level in levels]
        tokens, pos, token_padding = self.tokens(by_clip, paddings)
        outputs, boxes, memory = self.decode(tokens, pos, token_padding)
        size = (levels[0].shape[-2], levels[0].shape[-1])
        memory = finest_level(memory, len(levels[0]), size)
        encoded = Encoded(
            queries=outputs[-1].unflatten(1, (num_frames, self.num_slots)).flatten(0, 1),
            memory=memory,
            source=memory.permute(0, 3, 1, 2),
            padding=None if paddings is None else paddings[0].repeat_interleave(num_frames, 0),
            laterals=laterals,
            positions=finest_level(pos, len(levels[0]), size),
        )
        predictions = self.predict(outputs, encoded, all_layers, boxes)
        predictions.masks = partial(self._query_masks, encoded)
        return predictions

    def _query_masks(self, encoded: Encoded, clips: Tensor, queries: Tensor) -> Tensor:
        """See :attr:`Predictions.masks`. Each slot that is asked for runs once for all its frames."""
        slots, frames = queries % self.num_slots, queries // self.num_slots
        wanted, position = torch.unique(clips * self.num_slots + slots, return_inverse=True)
        masks = self.masks(encoded, wanted // self.num_slots, wanted % self.num_slots)
        return masks[to_device(position, masks.device), to_device(frames, masks.device)]

    def masks(self, encoded: Encoded, clips: Tensor, slots: Tensor) -> Tensor:
        """Mask logits of some slots.

        A slot needs all T frames because of the 3D convolutions, but no other slot: the result does
        not depend on which slots are computed together.

        Args:
            clips: (P,) int64, the clip of each wanted slot, in [0, B); on any device.
            slots: (P,) int64, in [0, S); on any device.

        Returns:
            (P, T, H_m, W_m).
        """
        finest = encoded.laterals[-1]
        if not len(slots):
            return finest.new_zeros(0, self.num_frames, *finest.shape[-2:])
        clips, slots = (to_device(index, finest.device) for index in (clips, slots))
        # One row a (slot, frame), slot-major: its image among the B·T, and its attention there.
        frames = torch.arange(self.num_frames, device=clips.device)
        rows = (clips[:, None] * self.num_frames + frames).flatten()
        attention = self.bbox_attention(
            encoded.queries, encoded.memory, encoded.padding, encoded.positions
        )[rows, slots.repeat_interleave(self.num_frames)]
        shared = self.mask_head.shared(encoded.source)
        pixels = finest.shape[-2:].numel() * self.mask_head.out_channels
        slots_at_once = self._parts(len(slots), self.num_frames * pixels)
        if torch.compiler.is_exporting():
            slots_at_once = max(1, _EXPORTED_ROWS // self.num_frames)
        # The deformable convolution takes twice the output channels.
        rows_at_once = self._parts(len(rows), 2 * pixels)
        recompute = self.activation_checkpoint and self.training
        masks = []
        for group, indices in zip(
            attention.split(slots_at_once * self.num_frames),
            rows.split(slots_at_once * self.num_frames),
        ):
            features = [
                self.mask_head(shared, part, index, encoded.laterals)
                for part, index in zip(group.split(rows_at_once), indices.split(rows_at_once))
            ]
            joined = features[0] if len(features) == 1 else torch.cat(features)  # without a copy
            by_slot = joined.unflatten(0, (-1, self.num_frames))
            masks.append(run(self.insmask_head, by_slot, recompute=recompute))
        changes = torch.cat(masks)
        return self.bbox_attention.refined(attention, changes.flatten(0, 1)).view_as(changes)

    def _parts(self, rows: int, elements: int) -> int:
        """Rows to run at once: all in training, at inference as many as memory should hold. A graph, whose
        sizes are not known when it is made, runs all, too.

        Args:
            elements: of the largest tensor that one row needs.
        """
        if self.training or torch.compiler.is_exporting():
            return rows
        return rows_at_once(elements, self.query_embed.weight.device)
