"""Deformable DETR with track queries: TrackFormer's network for MOT17 and MOT20.

Shapes: B: images, F: frames attended to, L: levels of a frame, S: tokens of a frame, N: queries (track
queries, then object queries), Q: object queries, K: classes, C: width.
"""

import math
from dataclasses import replace
from functools import partial

import torch
from d2video.projects.trackformer.network.base import (
    FrameFeatures,
    NetworkOutput,
    ProposalLinks,
    Pyramid,
    TrackingNetwork,
    TrackQueries,
    earlier_frames,
    with_track_queries,
)
from d2video.projects.trackformer.network.frame_merging import FrameMerging
from d2video.projects.trackformer.network.two_stage import TrackLinks, TwoStage, one_to_one
from detectron2.modeling import Backbone
from torch import Tensor, nn

from d2video.layers import SinePositionEncoding
from d2video.layers.deformable_transformer import DeformableTransformer, refine
from d2video.layers.level_geometry import LevelGeometry
from d2video.layers.level_projections import LevelProjections
from d2video.modeling.mask_head import MaskBranch
from d2video.modeling.pixels import channels_last
from d2video.modeling.predictions import Encoded
from d2video.modeling.query_network import MLP


class DeformableTrackingNetwork(TrackingNetwork):
    """Backbone, multi-scale deformable transformer, class and box heads.

    Args:
        backbone: of detectron2.
        in_features: names of backbone outputs, fine to coarse: the levels of the transformer; more
            levels are made from the last of them by strided convolutions.
        lateral_features: names of backbone outputs, fine to coarse, for the mask branch, which takes
            its memory from the level of the last of them; empty: no masks.
        transformer: of width C.
        num_queries: Q.
        num_logits: K for a focal loss, K + 1 with "no object".
        box_refine: every decoder layer has heads of its own and refines the boxes of the one before.
        two_stage: object queries come from the encoder; needs ``box_refine``.
        dense_proposals: see :class:`TwoStage`, and :func:`.training.proposals.dense_proposal_losses`.
        track_links: track queries start from the proposals that :class:`TrackLinks` chooses; needs
            ``dense_proposals``.
        merge_frame_features: see :class:`FrameMerging`.
        link_update: see :class:`TrackLinks`.
        temperature: of the sine positions.
        mask_width, activation_checkpoint: see :class:`MaskBranch`.
    """

    transformer: DeformableTransformer

    def __init__(
        self,
        *,
        backbone: Backbone,
        in_features: list[str],
        transformer: DeformableTransformer,
        num_queries: int,
        num_logits: int,
        box_refine: bool = True,
        two_stage: bool = False,
        dense_proposals: bool = False,
        track_links: bool = False,
        merge_frame_features: bool = False,
        link_update: float = 1.0,
        lateral_features: list[str] | None = None,
        temperature: float = 10000.0,
        mask_width: int | None = None,
        activation_checkpoint: bool = False,
    ):
        super().__init__()
        if two_stage and not box_refine:
            raise ValueError("two stages need box refinement")
        if dense_proposals > two_stage or track_links > dense_proposals:
            raise ValueError("links need dense proposals, which need two stages")
        self.backbone = backbone
        self.in_features = list(in_features)
        self.lateral_features = list(lateral_features or [])
        self.transformer = transformer
        self.num_previous = max(transformer.num_frames - 1, int(merge_frame_features))
        self.box_refine = box_refine
        self.dense_proposals = dense_proposals
        width = transformer.width
        # With several frames, time is the first axis; the official encodings differ in the offset.
        axes, offset = (2, -0.5) if transformer.num_frames == 1 else (3, 0.0)
        self.position_encoding = SinePositionEncoding(
            width, num_axes=axes, temperature=temperature, offset=offset
        )
        shapes = backbone.output_shape()
        channels = [shapes[name].channels for name in self.in_features]
        self.input_proj = LevelProjections(channels, transformer.num_levels, width)
        self.merge_features: FrameMerging | None = None
        if merge_frame_features:
            self.merge_features = FrameMerging(transformer.num_levels, len(channels), width)

        # A two-stage network has heads for the proposals behind those of the decoder layers; without
        # refinement all layers share one pair.
        num_heads = len(transformer.decoder.layers) + two_stage
        own = num_heads if box_refine else 1
        class_heads = [nn.Linear(width, num_logits) for _ in range(own)]
        box_heads = [MLP(width, width, 4, 3) for _ in range(own)]
        for class_head, box_head in zip(class_heads, box_heads):
            nn.init.constant_(class_head.bias, -math.log(99))  # every class has probability 0.01
            for parameter in box_head.layers[-1].parameters():
                nn.init.zeros_(parameter)
        self.two_stage: TwoStage | None = None
        self.links = TrackLinks(width, link_update) if track_links else None
        if two_stage:
            self.two_stage = TwoStage(width, num_queries, dense_proposals)
        else:
            self.query_embed = nn.Embedding(num_queries, 2 * width)
            self.reference_points = nn.Linear(width, 2)
            nn.init.xavier_uniform_(self.reference_points.weight)
            nn.init.zeros_(self.reference_points.bias)
            # Boxes start small around their reference points.
            _, bias = box_heads[0].layers[-1].parameters()
            nn.init.constant_(bias[2:], -2.0)
        repeats = num_heads // own
        self.class_embed = nn.ModuleList(class_heads * repeats)
        self.bbox_embed = nn.ModuleList(box_heads * repeats)
        if box_refine:
            transformer.decoder.bbox_embed = self.bbox_embed

        self.mask_branch = None
        if self.lateral_features:
            self.mask_branch = MaskBranch(
                width,
                transformer.num_heads,
                [shapes[name].channels for name in reversed(self.lateral_features)],
                mask_width,
                activation_checkpoint,
            )

    def features(self, images: Tensor, padding: Tensor | None) -> FrameFeatures:
        outputs = self.backbone(channels_last(images))
        names = [name for name in self.lateral_features if name not in self.in_features]
        return FrameFeatures([outputs[name] for name in names + self.in_features], padding)

    def project(self, features: FrameFeatures) -> Pyramid:
        levels = self.input_proj(features.maps[-len(self.in_features) :])
        return Pyramid.of(levels, features.padding)

    def forward(
        self,
        features: FrameFeatures,
        current: Pyramid,
        previous: list[Pyramid],
        track_queries: TrackQueries | None,
        all_layers: bool = True,
    ) -> NetworkOutput:
        geometry = LevelGeometry.of(current.levels, current.paddings)
        frames = self._frames(current, previous)
        tokens = torch.stack([_tokens(levels) for levels in frames], dim=1)
        pos = self._positions(current).to(tokens.dtype)
        memory = self.transformer.encode(tokens, pos, geometry)

        proposals = links = None
        if self.two_stage is not None:
            queries, query_pos, shown, reference, proposals = self.two_stage.propose(
                memory[:, -1], geometry, self.class_embed[-1], self.bbox_embed[-1]
            )
        else:
            embedded = self.query_embed.weight.expand(tokens.shape[0], -1, -1)
            query_pos, queries = embedded.chunk(2, dim=-1)
            reference = self.reference_points(query_pos).sigmoid()
            shown = queries  # not used without proposals
        if track_queries is not None:
            # Track queries start from the centre of their box; its size is not used, unless the
            # proposals of a first stage have one too.
            boxes = track_queries.boxes[..., : reference.shape[-1]]
            if self.links is not None:
                embeddings, seen = track_queries.embeddings.chunk(2, dim=-1)
                links, boxes, seen = self._link(seen, track_queries, shown, reference)
                shown = torch.cat([seen, shown], dim=1)
                track_queries = replace(track_queries, embeddings=embeddings)
            reference = torch.cat([boxes.to(reference.dtype), reference], dim=1)
        queries, query_pos, padding = with_track_queries(track_queries, queries, query_pos)
        if track_queries is not None and self.two_stage is not None and self.dense_proposals:
            count = track_queries.boxes.shape[1]
            own, _ = self.two_stage.embed(reference[:, :count])
            query_pos = torch.cat([own.to(query_pos.dtype), query_pos[:, count:]], dim=1)
        outputs, bases = self.transformer.decode(
            queries, query_pos, reference, memory, geometry, padding
        )
        logits, boxes = self._predict(outputs, bases, all_layers)
        masks = encoded = None
        if self.mask_branch is not None:
            encoded = self._encoded(features, current, geometry, memory[:, -1], outputs[-1])
            masks = partial(self.mask_branch, encoded)
        return NetworkOutput(
            *(logits, boxes, masks, encoded),
            embeddings=outputs[-1] if self.links is None else torch.cat([outputs[-1], shown], -1),
            query_padding=padding,
            proposals=proposals,
            centres=geometry.centres if self.dense_proposals else None,
            links=links,
        )

    def _frames(self, current: Pyramid, previous: list[Pyramid]) -> list[list[Tensor]]:
        """The levels of the F frames attended to, the earliest first."""
        frames = [current, *earlier_frames(current, previous, self.num_previous)][::-1]
        levels = [frame.levels for frame in frames]
        if self.merge_features is None:
            return levels
        # The earliest frame is merged with itself.
        pairs = [*zip(levels, levels[:1] + levels)][-self.transformer.num_frames :]
        return [self.merge_features(*pair, self.input_proj) for pair in pairs]

    def _link(
        self, seen: Tensor, tracks: TrackQueries, tokens: Tensor, found: Tensor
    ) -> tuple[ProposalLinks, Tensor, Tensor]:
        """The links to the proposals found (B, Q, 4), and the boxes (B, n, 4) and tokens (B, n, C) of
        the track queries, where there is a link those of the proposals and what they look like now."""
        assert self.links is not None
        logits = self.links(seen, tracks.boxes, tokens, found)
        choice = one_to_one(logits, tracks.padding)[..., None]
        row, linked = choice.clamp(max=found.shape[1] - 1), choice < found.shape[1]
        boxes = torch.where(linked, found.gather(1, row.expand(-1, -1, 4)), tracks.boxes)
        shown = tokens.gather(1, row.expand(-1, -1, tokens.shape[-1]))
        now = torch.lerp(seen.to(shown.dtype), shown, self.links.update)
        return ProposalLinks(logits, found), boxes, torch.where(linked, now, seen)

    def _predict(
        self, outputs: Tensor, bases: list[Tensor], all_layers: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits and boxes of all layers or the last; ``bases`` as the decoder returns them."""
        layers = range(len(outputs))[0 if all_layers else -1 :]
        logits = torch.stack([self.class_embed[index](outputs[index]) for index in layers])
        if self.box_refine:
            return logits, torch.stack([bases[index] for index in layers])
        changes = torch.stack([self.bbox_embed[index](outputs[index]) for index in layers])
        return logits, refine(changes, bases[0])

    def _positions(self, current: Pyramid) -> Tensor:
        """(B or 1, F, S, C); padding is the current frame's: all frames of a clip have one size."""
        frames = self.transformer.num_frames
        encodings = []
        for index, level in enumerate(current.levels):
            if current.paddings is None:
                grid = torch.zeros(1, *level.shape[-2:], dtype=torch.bool, device=level.device)
            else:
                grid = current.paddings[index]
            if frames == 1:
                encodings.append(self.position_encoding(grid)[:, None])
            else:
                clip = grid[:, None].expand(-1, frames, -1, -1)
                encodings.append(self.position_encoding(clip))
        return torch.cat([encoding.flatten(2, 3) for encoding in encodings], dim=2)

    def _encoded(
        self,
        features: FrameFeatures,
        current: Pyramid,
        geometry: LevelGeometry,
        memory: Tensor,
        queries: Tensor,
    ) -> Encoded:
        """What the mask branch takes: the memory at the level of the coarsest lateral.

        The official code takes the memory of the *previous* frame there (its memory is [current,
        previous], which it indexes by level from the end); this is the current one's.
        """
        level = self.in_features.index(self.lateral_features[-1])
        height, width = geometry.sizes[level]
        start = sum(h * w for h, w in geometry.sizes[:level])
        own = memory[:, start : start + height * width].unflatten(1, (height, width))
        padding = None if current.paddings is None else current.paddings[level]
        assert self.mask_branch is not None
        fine_to_coarse = features.maps[: len(self.lateral_features)]
        laterals = self.mask_branch.mask_head.laterals(fine_to_coarse)
        return Encoded(queries, own, current.levels[level], padding, laterals)


def _tokens(levels: list[Tensor]) -> Tensor:
    """[(B, C, H_l, W_l)] to (B, S, C)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
