"""The DETR network (Carion et al., ECCV 2020): tensors in, tensors out.

Shapes: B: images, Q: queries, K: classes, C: transformer width, L: decoder layers, H×W: the padded canvas,
H_f×W_f: the transformer's feature map.
"""

from torch import Tensor

from d2video.modeling.predictions import Encoded, Predictions
from d2video.modeling.query_network import QueryNetwork
from d2video.structures.padding import resize_padding


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
        features = self.backbone(images)
        source = self.input_proj(features[self.in_features[-1]])
        laterals = []
        if self.mask_branch is not None:
            fine_to_coarse = [features[name] for name in self.in_features[:-1]]
            laterals = self.mask_branch.mask_head.laterals(fine_to_coarse)
        if padding is not None:
            padding = resize_padding(padding, source)
        tokens, pos, token_padding = self.tokens(source.permute(0, 2, 3, 1), padding)
        outputs, memory = self.transformer(tokens, self.query_embed.weight, pos, token_padding)
        memory, positions = (x.unflatten(1, source.shape[-2:]) for x in (memory, pos))
        encoded = Encoded(outputs[-1], memory, source, padding, laterals, positions)
        return self.predict(outputs, encoded, all_layers)
