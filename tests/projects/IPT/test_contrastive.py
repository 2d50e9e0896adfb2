"""The contrastive loss: known values, chunks, memory, precision, bad input."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from d2video.projects.ipt.contrastive import contrastive_loss

from tests.helpers.golden_io import GOLDEN


@pytest.fixture(scope="module")
def features():
    with np.load(GOLDEN / "ipt_degradation_contrastive.npz") as archive:
        return torch.from_numpy(archive["contrastive.features"])  # (3,16,72) float64


def by_hand(features, form, temperature, epsilon=0.0):
    """Both formulas, spelled out; the official supcon adds ``epsilon`` within the logarithm."""
    images, patches, _ = features.shape
    unit = F.normalize(features, dim=2).flatten(0, 1)
    similarity = unit @ unit.T / temperature
    image = torch.arange(images).repeat_interleave(patches)
    terms = []
    for i in range(len(unit)):
        for p in range(len(unit)):
            if image[i] != image[p] or (form == "supcon" and i == p):
                continue
            if form == "paper":
                others = (image != image[i]) & (torch.arange(len(unit)) % patches == p % patches)
            else:
                others = torch.arange(len(unit)) != i
            total = (similarity[i][others] - 1 / temperature).exp().sum()
            terms.append((total + epsilon).log() + 1 / temperature - similarity[i, p])
    return torch.stack(terms).mean()


@pytest.mark.parametrize(
    ("form", "temperature", "key"),
    [
        ("paper", 1.0, "paper_formula_cosine_no_temperature"),
        ("supcon", 0.07, "supcon_tau_0_07"),
        ("supcon", 1.0, "supcon_tau_1"),
    ],
)
def test_known_values(features, form, temperature, key):
    expected = json.loads((GOLDEN / "ipt_degradation_contrastive.json").read_text())["contrastive"]
    epsilon = 1e-8 if form == "supcon" else 0.0
    official = by_hand(features, form, temperature, epsilon)
    # float64 on both sides.
    assert official.item() == pytest.approx(expected[key], abs=1e-10)
    loss = contrastive_loss(features, form, temperature)
    # The official epsilon over the sum of exponentials, which is 1e-3 at the low temperature.
    assert loss.item() == pytest.approx(expected[key], abs=2e-5 if temperature < 1 else 1e-9)


@pytest.mark.parametrize("form", ["paper", "supcon"])
@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_value_and_gradient_do_not_depend_on_the_chunks(features, form, rows):
    part = features[:, :5, :7].clone().requires_grad_()
    loss = contrastive_loss(part, form, 0.3, max_elements=rows * 15)
    expected = by_hand(part, form, 0.3)
    grad, expected_grad = (torch.autograd.grad(value, part)[0] for value in (loss, expected))
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("form", ["paper", "supcon"])
def test_no_more_similarities_than_allowed(form):
    """Neither at a time, nor kept for the backward pass."""
    torch.manual_seed(0)
    features = torch.randn(4, 32, 8, requires_grad=True)
    limit, largest, saved = 3 * 128, 0, []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    def keep(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), Watch():
        loss = contrastive_loss(features, form, max_elements=limit)
        loss.backward()
    # The features themselves are 1024 numbers.
    assert largest <= max(limit, features.numel())
    assert max(saved) <= features.numel()


def test_one_image_has_no_negatives(features):
    alone = features[:1].clone().requires_grad_()
    for form in ("paper", "supcon"):
        loss = contrastive_loss(alone, form, 0.07)
        (grad,) = torch.autograd.grad(loss, alone)
        assert loss == 0
        assert not grad.any()


def test_half_precision_is_computed_in_float32(features):
    half = features.bfloat16()
    expected = contrastive_loss(half.double(), "supcon", 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrastive_loss(half, "supcon", 0.07)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_chunk_has_at_least_one_row(features):
    one = contrastive_loss(features, max_elements=1)
    torch.testing.assert_close(one, contrastive_loss(features))
