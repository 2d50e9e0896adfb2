"""Multi-scale deformable attention and sine positions, against official arrays and against itself."""

import pytest
import torch

from d2video.layers import SinePositionEncoding, ms_deform_attn
from d2video.layers.ms_deform_attn import MSDeformAttn
from tests.projects.TrackFormer.golden_models import load_golden

FILE = "1_msdeformattn"
UNITS = {"tf": "hw", "ddetr": "wh"}


def golden_attention(unit: str) -> tuple[MSDeformAttn, dict, list[tuple[int, int]]]:
    weights, data, _ = load_golden(FILE)
    sizes = [(int(height), int(width)) for height, width in data["spatial_shapes"]]
    attention = MSDeformAttn(32, num_levels=3, num_heads=8, num_points=4, offset_unit=UNITS[unit])
    attention.load_state_dict(weights)
    return attention, data, sizes


@pytest.mark.parametrize("mask", ["mask", "nomask"])
@pytest.mark.parametrize("reference", ["ref2", "ref4"])
@pytest.mark.parametrize("unit", UNITS)
def test_outputs_and_gradients(unit, reference, mask):
    attention, data, sizes = golden_attention(unit)
    inputs = {
        "query": data["query"].clone().requires_grad_(),
        "ref": data[reference].clone().requires_grad_(),
        "input_flatten": data["input_flatten"].clone().requires_grad_(),
    }
    padding = data["padding_mask"] if mask == "mask" else None
    arguments = (*inputs.values(), sizes, padding)
    case = f"{unit}/{reference}/{mask}"
    output = attention(*arguments)
    # float32 noise of the official module against float64 is 2e-5.
    close = {"rtol": 0, "atol": 1e-4}
    torch.testing.assert_close(output, data[f"{case}/out"], **close)
    with torch.no_grad():  # by the other implementation
        torch.testing.assert_close(attention(*arguments), data[f"{case}/out"], **close)
    (output * data["grad_output"]).sum().backward()
    gradients = {name: tensor.grad for name, tensor in inputs.items()}
    gradients.update((name, p.grad) for name, p in attention.named_parameters())
    checked = 0
    for name, gradient in gradients.items():
        if f"{case}/grad_{name}" in data:
            golden = data[f"{case}/grad_{name}"]
            noise = 1e-4 * float(golden.abs().max())
            torch.testing.assert_close(gradient, golden, rtol=0, atol=noise, msg=name)
            checked += 1
    complete = mask == "mask" and (unit, reference) != ("ddetr", "ref4")
    assert not complete or checked == len(gradients) == 11


@torch.no_grad()
def test_units_differ_for_points_alone():
    _, data, _ = load_golden(FILE)
    outputs = {}
    for reference in ("ref2", "ref4"):
        for unit in UNITS:
            attention, data, sizes = golden_attention(unit)
            outputs[unit] = attention(data["query"], data[reference], data["input_flatten"], sizes)
        far = float((outputs["tf"] - outputs["ddetr"]).abs().max())
        assert (far > 0.5) == (reference == "ref2")


def test_offsets_start_as_those_of_deformable_detr():
    _, data, _ = load_golden(FILE)
    attention = MSDeformAttn(32, num_levels=3, num_heads=8, num_points=4)
    golden = data["init/ddetr_sampling_offsets_bias"]
    torch.testing.assert_close(attention.sampling_offsets.bias, golden, rtol=0, atol=1e-6)
    assert not attention.sampling_offsets.weight.any()
    # Heads of any number look in different directions, one pixel further with each point.
    offsets = MSDeformAttn(30, 2, num_heads=5, num_points=3).sampling_offsets.bias
    offsets = offsets.view(5, 2, 3, 2)
    assert len(torch.unique(offsets[:, 0, 0].round(decimals=3), dim=0)) == 5
    torch.testing.assert_close(offsets.abs().amax(-1)[:, :, 2], torch.full((5, 2), 3.0))


def test_width_is_divided_among_the_heads():
    with pytest.raises(ValueError, match="width 30 is not divisible by 8 heads"):
        MSDeformAttn(30)


# Heights and widths; one pixel, one row and one column among them.
LEVELS = [(3, 7), (1, 1), (1, 5), (4, 1), (2, 3)]


def random_samples(locations: torch.Tensor, seed: int = 0) -> tuple:
    """Values of LEVELS and weights for locations (B, N, h, L, P, 2)."""
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(height * width for height, width in LEVELS)
    value = torch.randn(len(locations), tokens, locations.shape[2], 4, generator=generator)
    weights = torch.rand(locations.shape[:-1], generator=generator)
    return value, LEVELS, locations, weights


def agree(*samples) -> torch.Tensor:
    """What both implementations say."""
    grid = ms_deform_attn._sum_of_grid_samples(*samples)
    rows = ms_deform_attn._sum_of_rows(*samples)
    torch.testing.assert_close(grid, rows, rtol=0, atol=2e-5)
    return grid


@pytest.mark.parametrize("spread", [1.0, 3.0, 1e4])
def test_implementations_agree(spread):
    """Inside, around and far outside of the image."""
    generator = torch.Generator().manual_seed(1)
    locations = torch.rand(2, 6, 3, len(LEVELS), 4, 2, generator=generator)
    found = agree(*random_samples((locations - 0.5) * spread + 0.5))
    assert found.shape == (2, 6, 12)
    assert found.any() == (spread < 100)


def test_implementations_agree_on_borders():
    """Edges and centres of the border pixels, and the pixel beyond, where the sum is zero."""
    places = []
    for height, width in LEVELS:
        steps = [torch.arange(-1, 2 * size + 2) / (2 * size) for size in (width, height)]
        grid = torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1).flatten(0, 1)
        places.append(grid[torch.linspace(0, len(grid) - 1, 40).long()])
    locations = torch.stack(places)[None, None, None]  # (1, 1, 1, L, 40, 2)
    # One query a point, so that no two points are summed.
    locations = locations.permute(0, 4, 2, 3, 1, 5)
    agree(*random_samples(locations))
    outside = torch.tensor([[-0.5, 0.5], [1.5, 0.5], [0.5, -0.5], [0.5, 1.5], [9.0, 9.0]])
    outside = outside.view(1, 5, 1, 1, 1, 2).expand(-1, -1, -1, len(LEVELS), -1, -1)
    assert not agree(*random_samples(outside)).any()


def test_one_pixel_at_its_centre():
    """Pixel (y, x) of a level has its centre at ((x + 1/2) / W, (y + 1/2) / H)."""
    locations = torch.full((1, 1, 1, len(LEVELS), 1, 2), -5.0)
    locations[..., 0, 0, :] = torch.tensor([4.5 / 7, 1.5 / 3])
    value, sizes, locations, weights = random_samples(locations)
    expected = value[0, 1 * 7 + 4, 0] * weights[0, 0, 0, 0, 0]
    torch.testing.assert_close(agree(value, sizes, locations, weights)[0, 0], expected)


@pytest.mark.parametrize("what", ["image", "clip"])
def test_positions(what):
    _, data, _ = load_golden(FILE)
    padding = data["pos/mask"]
    if what == "image":
        encoding, golden = SinePositionEncoding(32, 2, offset=-0.5), data["pos/sine2d"]
        golden = golden.permute(0, 2, 3, 1)
    else:
        encoding, golden = SinePositionEncoding(96, 3), data["pos/sine3d"].permute(0, 1, 3, 4, 2)
        padding = padding[:, None].expand(-1, 2, -1, -1)
    assert padding.any()
    torch.testing.assert_close(encoding(padding), golden, rtol=0, atol=5e-6)
