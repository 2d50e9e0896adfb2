"""The DETR network (Carion et al., ECCV 2020): tensors in, tensors out.

Shapes: B: images, Q: queries, K: classes, C: transformer width, L: decoder layers, H×W: the padded canvas,
H_f×W_f: the transformer's feature map.
"""

from torch import Tensor

from d2video.modeling.pixels import channels_last
from d2video.modeling.predictions import Encoded, Predictions
from d2video.modeling.query_network import QueryNetwork, finest_level
from d2video.structures.padding import resize_paddings


class DETRNetwork(QueryNetwork):
    """:class:`QueryNetwork` on the tokens of one image."""

    def forward(
        self, images: Tensor, padding: Tensor | None, all_layers: bool = True
    ) -> Predictions:
        """
        Args:
            images: (B, 3, H, W), normalised, 0 where padded.
            padding: (B, H, W) bool, True = padding; None if nothing is padded.
            all_layers: predict from every decoder layer (for auxiliary losses) or only the last.
        """
        features = self.backbone(channels_last(images))
        levels = self.levels(features)
        laterals = []
        if self.mask_branch is not None:
            fine_to_coarse = [features[name] for name in self.lateral_features]
            laterals = self.mask_branch.mask_head.laterals(fine_to_coarse)
        paddings = resize_paddings(padding, levels)
        tokens, pos, token_padding = self.tokens(levels, paddings)
        outputs, boxes, memory = self.decode(tokens, pos, token_padding)
        size = (levels[0].shape[-2], levels[0].shape[-1])
        encoded = Encoded(
            queries=outputs[-1, :, : self.num_queries],
            memory=finest_level(memory, images.shape[0], size),
            source=levels[0],
            padding=None if paddings is None else paddings[0],
            laterals=laterals,
            positions=finest_level(pos, images.shape[0], size),
        )
        predictions = self.predict(outputs, encoded, all_layers, boxes)
        return predictions.in_groups(self.num_queries)
