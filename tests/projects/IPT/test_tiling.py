"""Whole images by patches: the official rule, and the fast one."""

import itertools

import pytest
import torch
from d2video.projects.ipt import IPT
from d2video.projects.ipt.official import OfficialTiling
from d2video.projects.ipt.tiling import Tiling
from d2video.projects.ipt.whole_images import restore

from d2video.utils.errors import UserError
from tests.projects.IPT.tiny import golden_network, load_golden

TILINGS = {"official": OfficialTiling(12), "fast": Tiling(12)}


class Identity:
    """Each pixel as a square of s x s; counts its patches, and the largest number at once."""

    def __init__(self, scale: int = 1) -> None:
        self.scale, self.patches, self.most = scale, 0, 0

    def __call__(self, patches):
        self.patches += len(patches)
        self.most = max(self.most, len(patches))
        return enlarge(patches, self.scale)


def enlarge(image, scale):
    return image.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


class Seamy(Identity):
    """Tells each place of a patch from all others, and from the same place of other patches."""

    def __call__(self, patches):
        out = super().__call__(patches)
        ramp = torch.rand(out.shape[-2:], generator=torch.Generator().manual_seed(0))
        return out * ramp + patches.mean((1, 2, 3))[:, None, None, None]


def image(height, width, seed=0):
    return 255 * torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def who_gives(pixel, size, p, s):
    """The starts of the patches whose mean is the official pixel, along one axis, by the rule's text."""
    quarter = p // 4
    rest = (size - p) % quarter
    if pixel < quarter * s:
        return [0]
    if pixel >= (size - p) * s + int((p - rest) / 2 * s + 0.5):
        return [size - p]
    return [
        start
        for start in range(0, size - p + 1, quarter)
        if quarter * s <= pixel - start * s < (p - quarter) * s
    ]


def slow_official(model, picture, p, s, corner):
    """The rule of the official code, pixel by pixel."""
    h, w = picture.shape[-2:]
    known = {}

    def answer(y, x):
        if (y, x) not in known:
            known[y, x] = model(picture[None, :, y : y + p, x : x + p])[0]
        return known[y, x]

    tail = (w - p) * s + int((p - (w - p) % (p // 4)) / 2 * s + 0.5)
    out = torch.empty(3, h * s, w * s)
    for row in range(h * s):
        for column in range(w * s):
            ys, xs = who_gives(row, h, p, s), who_gives(column, w, p, s)
            if corner and row < p // 4 * s and column < min(p * s, tail):
                ys, xs = [0], [0]
            values = [answer(y, x)[:, row - y * s, column - x * s] for y in ys for x in xs]
            out[:, row, column] = torch.stack(values).mean(0)
    return out


@pytest.mark.parametrize("corner", [True, False])
@pytest.mark.parametrize(
    ("height", "width", "scale"), [(12, 12, 2), (13, 12, 1), (19, 23, 2), (18, 27, 1)]
)
def test_official_rule(height, width, scale, corner):
    picture = image(height, width)
    expected = slow_official(Seamy(scale), picture, 12, scale, corner)
    (found,) = restore(
        Seamy(scale),
        [picture],
        tiling=OfficialTiling(12, corner=corner),
        scale=scale,
        patches_at_once=7,
    )
    # Values up to 500 in float32, summed in another order.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def test_corner_makes_a_difference():
    corners = [
        restore(Seamy(), [image(31, 29)], tiling=OfficialTiling(12, corner=c), scale=1)[0]
        for c in (True, False)
    ]
    differs = (corners[0] - corners[1]).abs().sum(0) > 1e-3
    assert differs[:3, 3:12].any()
    differs[:3, :12] = False
    assert not differs.any()


@pytest.mark.parametrize("mode", ["official", "fast"])
@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 25), (40, 37), (21, 12), (47, 61)])
def test_identity(mode, scale, height, width):
    picture = image(height, width)
    (found,) = restore(Identity(scale), [picture], tiling=TILINGS[mode], scale=scale)
    assert found.dtype == torch.float32
    # The weights of a pixel sum to 1 up to float32's rounding, times 255.
    torch.testing.assert_close(found, enlarge(picture, scale), rtol=0, atol=2e-4)


@pytest.mark.parametrize(("height", "width"), [(7, 30), (30, 5), (1, 1), (2, 11)])
def test_images_smaller_than_a_patch(height, width):
    picture = image(height, width)
    (found,) = restore(Identity(2), [picture], tiling=TILINGS["fast"], scale=2)
    torch.testing.assert_close(found, enlarge(picture, 2), rtol=0, atol=2e-4)
    with pytest.raises(UserError, match="set MODEL.IPT.TILING fast"):
        restore(Identity(2), [picture], tiling=TILINGS["official"], scale=2)


def test_small_images_are_mirrored():
    seen = []

    def look(patches):
        seen.append(patches)
        return patches

    restore(look, [torch.arange(3.0).expand(3, 1, 3)], tiling=Tiling(8), scale=1)
    assert seen[0][0, 0, 5].tolist() == [0, 1, 2, 1, 0, 1, 2, 1]


@pytest.mark.parametrize("mode", ["official", "fast"])
def test_images_together_are_as_alone(mode):
    pictures = [image(31, 29, 1), image(12, 12, 2), image(26, 35, 3)]
    settings = {"tiling": TILINGS[mode], "scale": 2}
    model = Seamy(2)
    together = restore(model, pictures, patches_at_once=5, **settings)
    assert model.most == 5
    for picture, found in zip(pictures, together, strict=True):
        (alone,) = restore(Seamy(2), [picture], patches_at_once=1000, **settings)
        torch.testing.assert_close(found, alone, rtol=0, atol=2e-4)


# 339 x 510 pixels: DIV2K's usual input at x4; 162 patches has the MindSpore port there.
@pytest.mark.parametrize(("kind", "patches"), [(OfficialTiling, 1040), (Tiling, 140)])
def test_every_patch_once(kind, patches):
    model = Identity()
    restore(model, [image(339, 510)], tiling=kind(48), scale=1)
    assert model.patches == patches


@pytest.mark.parametrize("mode", ["official", "fast"])
def test_nothing_is_larger_than_the_answer(mode):
    """All patches of an image together are up to sixteen times as large."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    picture = image(150, 200)
    with Watch():
        restore(Identity(2), [picture], tiling=TILINGS[mode], scale=2, patches_at_once=16)
    assert largest == 3 * 300 * 400


def test_fast_seams_are_smooth():
    """Where neighbours disagree, the answer goes over from one to the other without a jump."""

    def column(patches):
        return patches.amin((1, 2, 3), keepdim=True).expand_as(patches)

    ramp = torch.arange(100.0).expand(3, 48, 100)
    (found,) = restore(column, [ramp], tiling=Tiling(48), scale=1)
    steps = found[0, 0].diff()
    assert (steps > -1e-4).all()
    # A raised cosine over 12 pixels or more, between patches 26 pixels apart.
    assert steps.max() < 26 * torch.pi / 2 / 12
    (official,) = restore(column, [ramp], tiling=OfficialTiling(48), scale=1)
    assert official[0, 0].diff().max() > steps.max()


def test_axes():
    assert OfficialTiling(12).axis(31, 2).starts == [0, 3, 6, 9, 12, 15, 18, 19]
    assert OfficialTiling(12).axis(30, 2).starts == [0, 3, 6, 9, 12, 15, 18]
    assert Tiling(48).axis(48, 1).starts == [0]
    assert Tiling(48).axis(49, 1).starts == [0, 1]
    starts = Tiling(48).axis(200, 1).starts
    assert starts[0] == 0
    assert starts[-1] == 152
    assert max(b - a for a, b in itertools.pairwise(starts)) <= 36


def test_no_images_and_wrong_patches():
    assert restore(Identity(), [], tiling=Tiling(12), scale=1) == []
    with pytest.raises(UserError, match="4 divides, not 30"):
        OfficialTiling(30)


@torch.no_grad()
def test_official_self_ensemble(golden):
    arrays, network = golden
    options = {"tiling": OfficialTiling(12), "self_ensemble": True}
    task = network.tasks[int(arrays["x8.task"])].name
    item = {"image": arrays["x8.input"][0], "task": task}
    (answer,) = IPT(network=network, **options).eval()([item])
    torch.testing.assert_close(answer["restored"], arrays["x8.output"][0], rtol=0, atol=1e-3)


GOLDEN_IMAGES = 8


@pytest.fixture(scope="module")
def golden():
    found = load_golden()
    return found, golden_network(found)


@torch.no_grad()
@pytest.mark.parametrize("case", range(GOLDEN_IMAGES))
def test_official_images(golden, case):
    arrays, network = golden
    task = int(arrays[f"chop{case}.task"])
    scale = network.tasks[task].scale
    (found,) = restore(
        lambda patches: network(patches, task)[0],
        [arrays[f"chop{case}.input"][0]],
        tiling=OfficialTiling(12),
        scale=scale,
    )
    # Values of 0..255 after a network in float32; the official code itself is within 4e-5 of float64.
    torch.testing.assert_close(found, arrays[f"chop{case}.output"][0], rtol=0, atol=1e-3)
