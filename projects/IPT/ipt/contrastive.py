"""The contrastive loss of IPT: patches of one image are alike, those of different images are not.

Shapes: B images of a batch, N patches (tokens) an image, E width, R rows of a chunk.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# With their temperatures.
FORMS = {"paper": 1.0, "supcon": 0.07}


def contrastive_loss(
    features: Tensor,
    form: str = "paper",
    temperature: float | None = None,
    max_elements: int = 2**24,
) -> Tensor:
    """The loss over all patches of a batch; d is the cosine similarity over the temperature.

    - "paper" (equation 6): the mean over images j and patches a, c of
      ``-log(exp d(f_ja, f_jc) / sum over k != j of exp d(f_ja, f_kc))``.
    - "supcon" (official MindSpore code): supervised contrastive loss whose class is the image. The
      mean over patches i and the others p of its image of
      ``-log(exp d(f_i, f_p) / sum over all q != i of exp d(f_i, f_q))``, without the official 1e-8
      within the logarithm: the sum is never 0.

    Only the images of this process are compared. A single image has no negatives: the loss is 0
    then, in both forms, and so is the gradient.

    The (B*N)^2 similarities are made in chunks of rows, and again in the backward pass, in float32 at
    least. What is kept for the backward pass has the size of ``features``.

    Args:
        features: (B,N,E), of the decoder.
        temperature: above 0; None: 1 for "paper", 0.07 for "supcon" (official).
        max_elements: similarities of a chunk, but at least a row, B*N. A few arrays of that size exist
            while a chunk is worked on.

    Returns:
        a scalar.

    Raises:
        KeyError: an unknown form.
    """
    temperature = FORMS[form] if temperature is None else temperature
    images, patches = features.shape[:2]
    rows = max(1, max_elements // (images * patches))
    if images == 1:
        return 0.0 * features.sum()
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()

    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features, dim=2)
        # Similarities to the patches of the own image are only ever summed: by their sum.
        positive = unit.sum(1).square().sum() / temperature  # over a, c and j
        chunk = _paper_rows if form == "paper" else _supcon_rows
        negative = unit.new_zeros(())
        for first in range(0, images * patches, rows):
            negative = negative + checkpoint(
                *(chunk, unit, first, rows, temperature),
                use_reentrant=False,
                preserve_rng_state=False,
            )
        anchors = images * patches
        if form == "paper":
            return (negative - positive) / (anchors * patches)
        # A patch is not its own positive; its similarity to itself is 1.
        itself = unit.square().sum() / temperature
        return negative / anchors - (positive - itself) / (anchors * max(patches - 1, 1))


def _paper_rows(unit: Tensor, first: int, rows: int, temperature: float) -> Tensor:
    """The sum over patches a of image j, from number ``first`` on, and patches c, of
    ``log sum_{k != j} exp d(f_ja, f_kc)``."""
    images, patches = unit.shape[:2]
    anchors = unit.flatten(0, 1)[first : first + rows]
    similarity = torch.einsum("re,kce->rkc", anchors, unit) / temperature
    image = torch.arange(first, first + len(anchors), device=unit.device) // patches
    own = image[:, None] == torch.arange(images, device=unit.device)
    return similarity.masked_fill(own[:, :, None], -torch.inf).logsumexp(1).sum()


def _supcon_rows(unit: Tensor, first: int, rows: int, temperature: float) -> Tensor:
    """The sum over patches i from number ``first`` on of ``log sum_{q != i} exp d(f_i, f_q)``."""
    every = unit.flatten(0, 1)
    similarity = every[first : first + rows] @ every.T / temperature
    itself = torch.arange(first, first + len(similarity), device=unit.device)
    index = torch.arange(len(every), device=unit.device)
    return similarity.masked_fill(itself[:, None] == index, -torch.inf).logsumexp(1).sum()
