"""Vision Transformers of timm as frame backbones.

Shapes: B: frames, N: tokens (class token, patches), C: width, h: heads, H×W: the image.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from d2video.modeling.timm_backbone import create_timm_model
from d2video.utils.errors import UserError


class TimmViT(Backbone):
    """A timm ``VisionTransformer`` that gives the normalised class token of each frame.

    Only the class token of the last block is used, so in that block it is the only query and goes
    through the rest of it without the patches. The result is the same, for 7 % fewer operations
    (ViT-B).
    A last block that is not timm's plain one is computed whole.

    Args:
        vit: ``timm.models.VisionTransformer`` with a class token.
        activation_checkpoint: recompute the blocks in the backward pass instead of keeping them.
    """

    def __init__(self, vit: Any, activation_checkpoint: bool = False):
        super().__init__()
        self.vit = vit
        self.width: int = vit.embed_dim
        self.activation_checkpoint = activation_checkpoint
        self.image_size: tuple[int, int] = tuple(vit.patch_embed.img_size)
        self._class_token_only = _is_plain(vit.blocks[-1])

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {"class_token": ShapeSpec(channels=self.width, height=1, width=1)}

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """
        Args:
            frames: (B, 3, H, W), normalised, of ``image_size``.

        Returns:
            {"class_token": (B, C, 1, 1)}: averaging over space leaves it as it is.

        Raises:
            UserError: the frames have another size.
        """
        if tuple(frames.shape[-2:]) != self.image_size:
            (height, width), (h, w) = self.image_size, frames.shape[-2:]
            raise UserError(
                f"the Vision Transformer takes frames of {width}x{height} pixels, these are {w}x{h}: "
                "crop them to that size, or choose another MODEL.TIMM.NAME"
            )
        vit: Any = self.vit
        x = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(frames))))
        *blocks, last = vit.blocks
        for block in blocks:
            x = self._run(block, x)
        x = self._run(class_token_block, x, last) if self._class_token_only else self._run(last, x)
        token = vit.fc_norm(vit.norm(x[:, :1]))[:, 0]
        return {"class_token": token[..., None, None]}

    def _run(self, function: Any, *arguments: Any) -> Tensor:
        if self.activation_checkpoint and self.training and torch.is_grad_enabled():
            return checkpoint(function, *arguments, use_reentrant=False)
        return function(*arguments)


def _is_plain(block: nn.Module) -> bool:
    """Whether :func:`class_token_block` knows the block: timm has others with the same parts."""
    from timm.models import vision_transformer as timm_vit

    attention: Any = getattr(block, "attn", None)
    return (
        type(block) is timm_vit.Block
        and type(attention) is timm_vit.Attention
        and getattr(attention, "gate", None) is None
    )


def class_token_block(x: Tensor, block: Any) -> Tensor:
    """timm's pre-norm block (attention, then feed-forward) for the first token only.

    Args:
        x: (B, N, C).
        block: ``timm.models.vision_transformer.Block``.

    Returns:
        (B, 1, C), row 0 of what ``block(x)`` returns.
    """
    attention = block.attn
    tokens = block.norm1(x)
    width = attention.qkv.out_features // 3
    weight_q, weight_kv = attention.qkv.weight.split([width, 2 * width])
    bias_q = bias_kv = None
    if attention.qkv.bias is not None:
        bias_q, bias_kv = attention.qkv.bias.split([width, 2 * width])
    shape = (attention.num_heads, -1)
    q = F.linear(tokens[:, :1], weight_q, bias_q).unflatten(-1, shape).transpose(1, 2)
    k, v = F.linear(tokens, weight_kv, bias_kv).unflatten(-1, (2, *shape)).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(
        attention.q_norm(q),
        attention.k_norm(k),
        v,
        dropout_p=attention.attn_drop.p if attention.training else 0.0,
    )
    attended = attention.norm(attended.transpose(1, 2).flatten(2))
    attended = attention.proj_drop(attention.proj(attended))
    token = x[:, :1] + block.drop_path1(block.ls1(attended))
    return token + block.drop_path2(block.ls2(block.mlp(block.norm2(token))))


@BACKBONE_REGISTRY.register()
def build_timm_vit_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmViT:
    """The Vision Transformer that MODEL.TIMM names, regularized by MODEL.VTN.VIT.

    Raises:
        UserError: as :func:`create_timm_model`, or the model is of another kind.
    """
    node = cfg.MODEL.VTN.VIT
    vit = create_timm_model(
        cfg,
        num_classes=0,
        in_chans=input_shape.channels,
        drop_path_rate=node.DROP_PATH,
        pos_drop_rate=node.DROPOUT,
        proj_drop_rate=node.DROPOUT,
    )
    from timm.models import VisionTransformer  # behind the message of a missing package

    if not isinstance(vit, VisionTransformer) or vit.cls_token is None:
        raise UserError(
            f"MODEL.TIMM.NAME is '{cfg.MODEL.TIMM.NAME}', not a Vision Transformer with a class token: "
            "choose one, such as vit_base_patch16_224"
        )
    return TimmViT(vit, cfg.MODEL.ACTIVATION_CHECKPOINT)
