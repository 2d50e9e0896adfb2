"""Sliding-window attention with a global token: both forms against the definition, query by query."""

import pytest
import torch
from d2video.projects.vtn import local_attention as module
from d2video.projects.vtn.local_attention import local_attention

NAMES = ("q", "k", "v", "global_k", "global_v")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of a few queries, so that short sequences have many of them."""
    monkeypatch.setattr(module, "BLOCK", 4)


def inputs(length: int, batch: int = 2, dtype=torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)

    def draw(count: int) -> torch.Tensor:
        # As heads are split off a projection: not contiguous.
        x = torch.randn(batch, count, 3, 5, generator=generator, dtype=torch.float64)
        return x.to(dtype).transpose(1, 2).requires_grad_()

    return {name: draw(1 if name.startswith("global") else length) for name in NAMES}


def some_padding(length: int) -> torch.Tensor:
    """At the start, within and at the end of the first sequence; all of the second one's tokens."""
    padding = torch.zeros(2, length, dtype=torch.bool)
    padding[0, [0, length // 2, length - 1]] = True
    padding[1] = True
    return padding


def by_definition(q, k, v, global_k, global_v, radius, padding) -> torch.Tensor:
    """One softmax over the global token and the window's tokens, for each query by itself."""
    rows = []
    for b, length in enumerate([q.shape[2]] * len(q)):
        for i in range(length):
            window = [
                j
                for j in range(max(i - radius, 0), min(i + radius + 1, length))
                if not padding[b, j]
            ]
            keys = torch.cat([global_k[b], k[b][:, window]], 1)
            values = torch.cat([global_v[b], v[b][:, window]], 1)
            weights = ((keys @ q[b, :, i, :, None]) / q.shape[-1] ** 0.5).softmax(1)
            rows.append((weights * values).sum(1) * ~padding[b, i])
    return torch.stack(rows).unflatten(0, (len(q), -1)).transpose(1, 2)


@pytest.mark.parametrize("banded", [False, True], ids=["dense", "banded"])
@pytest.mark.parametrize("radius", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 23])
def test_equals_the_definition(length, radius, banded):
    """Values and gradients, in float64: nothing but rounding may differ."""
    tensors = inputs(length)
    padding = some_padding(length)
    golden = by_definition(**tensors, radius=radius, padding=padding)
    output = local_attention(**tensors, radius=radius, padding=padding, banded=banded)
    torch.testing.assert_close(output, golden, rtol=0, atol=1e-13)
    assert not output[padding[:, None].expand(-1, 3, -1)].any()

    upstream = torch.randn(golden.shape, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.autograd.grad(golden, list(tensors.values()), upstream)
    for name, mine, other in zip(
        NAMES, torch.autograd.grad(output, list(tensors.values()), upstream), expected
    ):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-13, msg=lambda m, n=name: n + m)


@pytest.mark.parametrize("banded", [False, True], ids=["dense", "banded"])
@pytest.mark.parametrize("radius", [2, 30])
def test_padding_is_as_if_it_were_not_there(banded, radius):
    tensors = inputs(11)
    alone = local_attention(**tensors, radius=radius, banded=banded)
    padded = {
        name: x if name.startswith("global") else torch.cat([x, x[:, :, :5] + 1e3], 2)
        for name, x in tensors.items()
    }
    padding = torch.arange(16).expand(2, -1) >= 11
    output = local_attention(**padded, radius=radius, padding=padding, banded=banded)
    torch.testing.assert_close(output[:, :, :11], alone, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("banded", [False, True], ids=["dense", "banded"])
def test_half_precision(dtype, banded):
    """Scores of several hundred, where a softmax in half precision would be far off."""
    tensors = inputs(29)
    tensors["q"] = (tensors["q"] * 100).detach()
    tensors = {name: x.detach().to(dtype) for name, x in tensors.items()}
    exact = local_attention(**{name: x.double() for name, x in tensors.items()}, radius=3)
    output = local_attention(**tensors, radius=3, banded=banded)
    assert output.dtype == dtype
    # The values, of up to 4, and the result are rounded; one step of each dtype at 4, doubled.
    step = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(output.double(), exact, rtol=0, atol=step)


@pytest.mark.parametrize("banded", [False, True], ids=["dense", "banded"])
def test_dropout_acts_on_the_weights(banded):
    tensors = {name: x.detach() for name, x in inputs(23).items()}
    tensors["v"] = torch.ones_like(tensors["v"])
    tensors["global_v"] = torch.ones_like(tensors["global_v"])
    torch.manual_seed(0)
    outputs = torch.stack(
        [local_attention(**tensors, radius=3, dropout=0.5, banded=banded) for _ in range(400)]
    )
    assert (outputs.std(0) > 0.1).all()
    # Weights kept are doubled. The mean of 400 has a deviation of at most 1 / 20; 5 of them.
    torch.testing.assert_close(outputs.mean(0), tensors["v"], rtol=0, atol=0.25)


def test_short_sequences_are_dense_and_long_ones_banded(monkeypatch):
    taken = []
    for form in ("_dense", "_banded"):
        monkeypatch.setattr(
            module, form, lambda q, *args, form=form: taken.append((form, q.shape[2])) or q
        )
    monkeypatch.setattr(module, "BLOCK", 64)
    for length in (1, 16, 252, 253, 8192):
        local_attention(**inputs(length, batch=1), radius=9)
    for length in (1281, 1282):
        local_attention(**inputs(length, batch=1), radius=256)
    short = [("_dense", n) for n in (1, 16, 252)]
    assert taken == [
        *short,
        ("_banded", 253),
        ("_banded", 8192),
        ("_dense", 1281),
        ("_banded", 1282),
    ]
