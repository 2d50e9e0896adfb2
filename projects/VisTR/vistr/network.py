"""The VisTR network (Wang et al., CVPR 2021): tensors in, tensors out.

Shapes: B: clips, T: frames, S: slots (instances at most), K: classes, C: transformer width, L: decoder
layers, h: heads, H×W: the padded canvas, H_f×W_f: the transformer's feature map, H_m×W_m: the finest
lateral (stride 4). Queries are frame-major: query t·S + s asks for slot s in frame t.
"""

import math
from dataclasses import dataclass

import torch
import torch.utils.checkpoint
from d2video.projects.vistr.instance_head import InstanceMaskHead
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import MLP, SinePositionEncoding, Transformer
from d2video.modeling.chunking import rows_at_once
from d2video.modeling.mask_head import MaskHeadSmallConv, MHAttentionMap
from d2video.structures.padding import resize_padding


@dataclass
class Encoded:
    """What the mask branch needs of a clip batch.

    Attributes:
        queries: (B, T·S, C), last decoder layer.
        memory: (B, T, H_f, W_f, C).
        padding: (B, H_f, W_f) bool, or None where nothing is padded.
        laterals: coarse to fine, [(B, T, c_i, H_i, W_i)].
        positions: (B, T, H_f, W_f, C).
    """

    queries: Tensor
    memory: Tensor
    padding: Tensor | None
    laterals: list[Tensor]
    positions: Tensor


class VisTRNetwork(nn.Module):
    """Backbone, transformer over all tokens of a clip, class and box heads, mask branch.

    Args:
        backbone: encodes single frames.
        in_features: names of backbone outputs, fine to coarse. The last feeds the transformer, the
            others are the laterals of the mask head.
        transformer: of width C, divisible by 6 (three axes of sine positions).
        num_frames: T; the learned queries are bound to it.
        num_slots: S, the largest number of instances a clip can show.
        num_classes: K.
        mask_width: of the mask head (see :class:`MaskHeadSmallConv`); C if None.
        position_temperature: of the sine positions.
        position_waves: the shortest sine waves that fit into the frame, and into the clip.
        mask_positions: ``use_positions`` of :class:`MHAttentionMap`.
        mask_on: build and run the mask branch. :class:`VisTR` needs it; False is the network of the
            authors' pretraining, boxes only, for comparing with their arrays.
        activation_checkpoint: recompute the mask head in the backward pass.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: list[str],
        transformer: Transformer,
        num_frames: int,
        num_slots: int,
        num_classes: int,
        mask_width: int | None = None,
        position_temperature: float = 10000.0,
        position_waves: float = 1.0,
        mask_positions: bool = False,
        mask_on: bool = True,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        self.backbone = backbone
        self.in_features = list(in_features)
        self.num_frames = num_frames
        self.num_slots = num_slots
        self.mask_on = mask_on
        self.activation_checkpoint = activation_checkpoint
        width = transformer.width
        shapes = backbone.output_shape()
        self.input_proj = nn.Conv2d(shapes[self.in_features[-1]].channels, width, 1)
        self.position_encoding = SinePositionEncoding(
            width,
            num_axes=3,
            temperature=position_temperature,
            scale=2 * math.pi * position_waves,
        )
        self.transformer = transformer
        self.query_embed = nn.Embedding(num_frames * num_slots, width)
        self.class_embed = nn.Linear(width, num_classes + 1)
        self.bbox_embed = MLP(width, width, 4, 3)
        if mask_on:
            self.bbox_attention = MHAttentionMap(
                width, width, transformer.num_heads, mask_positions
            )
            self.mask_head = MaskHeadSmallConv(
                width,
                transformer.num_heads,
                [shapes[name].channels for name in reversed(self.in_features[:-1])],
                mask_width,
                activation_checkpoint,
            )
            self.insmask_head = InstanceMaskHead(self.mask_head.out_channels)

    def _frame_features(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, H, W) to the projected transformer input (N, C, H_f, W_f) and the laterals."""
        features = self.backbone(frames)
        source = self.input_proj(features[self.in_features[-1]])
        if not self.mask_on:
            return source, []
        return source, self.mask_head.laterals(
            [features[name] for name in reversed(self.in_features[:-1])]
        )

    def _encode_frames(self, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
        """All frames at once in training. At inference a few at a time: only the narrow laterals
        are kept, never the wide backbone features of all frames."""
        flat = frames.flatten(0, 1)
        # The widest maps are those of res2: 256 channels at stride 4, 16 elements a pixel.
        parts = self._parts(len(flat), 16 * flat[0, 0].numel())
        sources, laterals = zip(*(self._frame_features(part) for part in flat.split(parts)))
        return torch.cat(sources), [torch.cat(level) for level in zip(*laterals)]

    def forward(
        self, frames: Tensor, padding: Tensor | None, all_layers: bool = True
    ) -> tuple[Tensor, Tensor, Encoded]:
        """
        Args:
            frames: (B, T, 3, H, W), normalised, 0 where padded.
            padding: (B, H, W) bool, True = padding; None if nothing is padded.
            all_layers: predict from every decoder layer (for auxiliary losses) or the last alone.

        Returns:
            class logits (L or 1, B, T·S, K + 1), boxes (L or 1, B, T·S, 4) float32, cxcywh in [0, 1]
            of the *unpadded* frame, and what :meth:`masks` needs.
        """
        batch, num_frames = frames.shape[:2]
        assert num_frames == self.num_frames, (num_frames, self.num_frames)
        source, laterals = self._encode_frames(frames)
        size = source.shape[-2:]
        # Tokens are frame-major, then row-major: (B, T·H_f·W_f, C).
        tokens = source.unflatten(0, (batch, num_frames)).permute(0, 1, 3, 4, 2).flatten(1, 3)
        if padding is None:
            token_padding = None
            grid = torch.zeros(batch, num_frames, *size, dtype=torch.bool, device=frames.device)
        else:
            padding = resize_padding(padding, (size[0], size[1]))
            grid = padding[:, None].expand(-1, num_frames, -1, -1)
            token_padding = grid.flatten(1)
        pos = self.position_encoding(grid).flatten(1, 3).to(tokens.dtype)
        outputs, memory = self.transformer(tokens, self.query_embed.weight, pos, token_padding)
        if not all_layers:
            outputs = outputs[-1:]
        encoded = Encoded(
            outputs[-1],
            memory.unflatten(1, (num_frames, *size)),
            padding,
            [lateral.unflatten(0, (batch, num_frames)) for lateral in laterals],
            pos.unflatten(1, (num_frames, *size)),
        )
        return self.class_embed(outputs), self.bbox_embed(outputs).float().sigmoid(), encoded

    def masks(self, encoded: Encoded, clips: Tensor, slots: Tensor) -> Tensor:
        """Mask logits of some slots.

        A slot needs all T frames because of the 3D convolutions, but no other slot: the result does
        not depend on which slots are computed together.

        Args:
            clips: (P,) int64, the clip of each wanted slot, in [0, B).
            slots: (P,) int64, in [0, S).

        Returns:
            (P, T, H_m, W_m).
        """
        queries = encoded.queries.unflatten(1, (self.num_frames, self.num_slots)).flatten(0, 1)
        memory = encoded.memory.flatten(0, 1)
        padding = encoded.padding
        if padding is not None:
            padding = padding.repeat_interleave(self.num_frames, dim=0)
        laterals = [lateral.flatten(0, 1) for lateral in encoded.laterals]

        # One row a (slot, frame), slot-major: its image among the B·T, and its attention there.
        frames = torch.arange(self.num_frames, device=clips.device)
        rows = (clips[:, None] * self.num_frames + frames).flatten()
        positions = encoded.positions.flatten(0, 1)
        attention = self.bbox_attention(queries, memory, padding, positions)
        attention = attention[rows, slots.repeat_interleave(self.num_frames)]
        shared = self.mask_head.shared(memory.permute(0, 3, 1, 2))
        pixels = laterals[-1].shape[-2:].numel() * self.mask_head.out_channels
        slots_at_once = self._parts(len(slots), self.num_frames * pixels)
        # The deformable convolution holds nine copies of twice the output channels.
        rows_at_once = self._parts(len(rows), 18 * pixels)
        masks = []
        for group, indices in zip(
            attention.split(slots_at_once * self.num_frames),
            rows.split(slots_at_once * self.num_frames),
        ):
            features = [
                self.mask_head(shared, part, index, laterals)
                for part, index in zip(group.split(rows_at_once), indices.split(rows_at_once))
            ]
            masks.append(
                self._instance_masks(torch.cat(features).unflatten(0, (-1, self.num_frames)))
            )
        return torch.cat(masks)

    def _instance_masks(self, features: Tensor) -> Tensor:
        if self.activation_checkpoint and self.training:
            return torch.utils.checkpoint.checkpoint(
                self.insmask_head, features, use_reentrant=False
            )
        return self.insmask_head(features)

    def _parts(self, rows: int, elements: int) -> int:
        """Rows to run at once: all in training, at inference as many as memory should hold.

        Args:
            elements: of the largest tensor that one row needs.
        """
        return rows if self.training else rows_at_once(elements, self.query_embed.weight.device)
