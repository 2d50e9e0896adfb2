"""The temporal encoder against arrays of the official code, transformers' Longformer, and itself."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from d2video.projects.vtn import local_attention
from d2video.projects.vtn.temporal_encoder import POSITION_RULES, TemporalEncoder
from d2video.projects.vtn.temporal_layer import TemporalAttention
from torch import Tensor, nn

from d2video.layers.recording import record_attention
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN

CASES = ["f40", "f37", "f16", "f47"]
# transformers' names to ours, in this order.
RENAMES = {
    "temporal_encoder.": "",
    "encoder.layer.": "layers.",
    "embeddings.position_embeddings": "embeddings.position",
    "embeddings.token_type_embeddings": "embeddings.token_type",
    "embeddings.LayerNorm": "embeddings.norm",
    "attention.self.": "attention.",
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


def our_name(name: str) -> str:
    for theirs, ours in RENAMES.items():
        name = name.replace(theirs, ours)
    return name


def tiny(**changes) -> TemporalEncoder:
    sizes = {"hidden_dim": 48, "num_heads": 4, "num_layers": 2, "dim_feedforward": 96}
    return TemporalEncoder(**(sizes | {"window": 8, "max_positions": 64} | changes))


def official(**changes) -> TemporalEncoder:
    """With the rules of the official code."""
    return tiny(position_rule="modulus", mask_repeats=False, **changes).eval()


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN / "vtn_temporal_tiny.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def part(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: x for name, x in golden.items() if name.startswith(prefix)}


def encoder_weights(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        our_name(name): x
        for name, x in part(golden, "sd.").items()
        if not name.startswith("mlp_head") and not name.endswith("position_ids")
    }


def head(golden: dict[str, Tensor]) -> nn.Sequential:
    layers = nn.LayerNorm(48), nn.Linear(48, 40), nn.GELU(), nn.Dropout(0.5), nn.Linear(40, 10)
    module = nn.Sequential(*layers).eval()
    module.load_state_dict(part(golden, "sd.mlp_head."))
    return module


def outputs_of_layers(encoder: TemporalEncoder, *inputs, **options) -> tuple[Tensor, list[Tensor]]:
    """The encoder's output, and those of the embedding and of each layer."""
    seen: list[Tensor] = []
    modules = [encoder.embeddings, *encoder.layers]
    hooks = [m.register_forward_hook(lambda m, i, output: seen.append(output)) for m in modules]
    output = encoder(*inputs, **options)
    for hook in hooks:
        hook.remove()
    return output, seen


@pytest.fixture(params=[False, True], ids=["dense", "banded"])
def form(request, monkeypatch):
    """Blocks of which short sequences have several; one form for all lengths."""
    monkeypatch.setattr(local_attention, "BLOCK", 8)
    monkeypatch.setattr(local_attention, "DENSE_TOKENS", -1e9 if request.param else 1e9)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_golden_outputs(golden, case):
    encoder = official()
    encoder.load_state_dict(encoder_weights(golden))
    inputs = golden[f"{case}.features"], golden[f"{case}.frame_index"]
    expected = part(golden, f"{case}.window8.")
    tokens, seen = outputs_of_layers(encoder, *inputs, all_tokens=True)
    for mine, name in zip([*seen, tokens], ["emb", "layer0", "layer1", "layer1"]):
        torch.testing.assert_close(mine, expected[name], rtol=0, atol=2e-5, msg=name)
    for cls in (tokens[:, 0], encoder(*inputs)):
        logits = head(golden)(cls)
        torch.testing.assert_close(logits, expected["logits"], rtol=0, atol=2e-5)
        # The official code itself is up to 7e-6 away from float64.
        exact = expected["logits_dense_f64"].float()
        torch.testing.assert_close(logits, exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", ["full_longformer", "full_plain"])
@torch.no_grad()
def test_golden_full_attention(golden, case, variant):
    """A window that holds the whole video; plain: CLS looks through the others' projections."""
    encoder = official(window=96)
    encoder.load_state_dict(encoder_weights(golden))
    if variant == "full_plain":
        for layer in encoder.layers:
            for name in ("query", "key", "value"):
                local = getattr(layer.attention, name)
                getattr(layer.attention, f"{name}_global").load_state_dict(local.state_dict())
    inputs = golden[f"{case}.features"], golden[f"{case}.frame_index"]
    expected = part(golden, f"{case}.{variant}.")
    tokens = encoder(*inputs, all_tokens=True)
    torch.testing.assert_close(tokens, expected["layer1"], rtol=0, atol=2e-5)
    logits = head(golden)(encoder(*inputs))
    torch.testing.assert_close(logits, expected["logits"], rtol=0, atol=2e-5)


@pytest.mark.usefixtures("form")
def test_golden_gradients(golden):
    encoder, mlp = official(), head(golden)
    encoder.load_state_dict(encoder_weights(golden))
    features = golden["f37.features"].clone().requires_grad_()
    logits = mlp(encoder(features, golden["f37.frame_index"]))
    loss = F.cross_entropy(logits, golden["f37.labels"])
    torch.testing.assert_close(loss, golden["f37.loss"], rtol=0, atol=1e-5)
    loss.backward()
    mine = {f"mlp_head.{name}": p for name, p in mlp.named_parameters()}
    mine |= dict(encoder.named_parameters()) | {"features": features}
    expected = {our_name(name): x for name, x in part(golden, "f37.grad.").items()}
    assert mine.keys() == expected.keys()
    for name, grad in expected.items():
        if mine[name].requires_grad:
            torch.testing.assert_close(mine[name].grad, grad, rtol=0, atol=1e-5, msg=name)
        else:
            assert name.startswith(tuple(f"layers.1.attention.{n}." for n in UNREAD))
            assert not grad.any()  # the official code computes it, and always gets 0


UNREAD = ["query", "key", "value"]


@pytest.mark.parametrize("num_layers", [1, 3])
def test_every_trained_parameter_has_a_gradient(num_layers):
    """What DistributedDataParallel demands, also where nothing can be told from it."""
    encoder = tiny(num_layers=num_layers).train()
    encoder(torch.randn(2, 5, 48), torch.arange(5).expand(2, -1)).sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None]
    last = f"layers.{num_layers - 1}.attention"
    assert without == [f"{last}.{name}.{kind}" for name in UNREAD for kind in ("weight", "bias")]
    assert not any(dict(encoder.named_parameters())[name].requires_grad for name in without)


def random_videos(*lengths: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(n, 48, generator=generator),
            torch.randint(1, 3, (n,), generator=generator).cumsum(0),
        )
        for n in lengths
    ]


def as_batch(videos: list[tuple[Tensor, Tensor]], length: int, fill: float = torch.nan):
    """Padded at the end with what must not be looked at."""
    features = torch.full((len(videos), length, 48), fill)
    frame_index = torch.full((len(videos), length), 10**6)
    padding = torch.ones(len(videos), length, dtype=torch.bool)
    for b, (video, index) in enumerate(videos):
        features[b, : len(video)], frame_index[b, : len(video)] = video, index
        padding[b, : len(video)] = False
    return features, frame_index, padding


@pytest.mark.usefixtures("form")
@torch.no_grad()
def test_a_video_does_not_depend_on_its_batch():
    """Odd lengths, padding, and the order of the batch; one of them too long for the table."""
    torch.manual_seed(0)
    encoder = tiny().eval()
    videos = random_videos(1, 2, 3, 5, 9, 16, 37, 61)
    alone = torch.cat([encoder(x[None], index[None]) for x, index in videos])
    batch = as_batch(videos, length=66)
    torch.testing.assert_close(encoder(*batch), alone, rtol=0, atol=5e-6)
    order = torch.randperm(len(videos))
    permuted = encoder(*(x[order] for x in batch))
    torch.testing.assert_close(permuted, alone[order], rtol=0, atol=5e-6)
    tokens = encoder(*batch, all_tokens=True)
    for b, (x, index) in enumerate(videos):
        mine = encoder(x[None], index[None], all_tokens=True)[0]
        torch.testing.assert_close(tokens[b, : len(mine)], mine, rtol=0, atol=5e-6)


@pytest.mark.usefixtures("form")
def test_gradients_do_not_depend_on_padding():
    encoder = tiny(dropout=0.0)

    def gradients(videos, length: int) -> list[Tensor]:
        encoder.zero_grad()
        encoder(*as_batch(videos, length)).square().sum().backward()
        return [p.grad.clone() for p in encoder.parameters() if p.grad is not None]

    videos = random_videos(13)
    for mine, other in zip(gradients(videos, 13), gradients(videos, 21)):
        assert mine.isfinite().all()
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_repeated_frames_are_padding_unless_switched_off():
    torch.manual_seed(0)
    encoder = tiny(window=100).eval()
    features, frame_index = random_videos(6)[0]
    times = torch.tensor([1, 3, 1, 1, 2, 1])
    repeated = (
        features.repeat_interleave(times, 0)[None],
        frame_index.repeat_interleave(times)[None],
    )
    once = features[None], frame_index[None]
    # The whole video lies in the window, hence nothing but the masked tokens differs.
    torch.testing.assert_close(encoder(*repeated), encoder(*once), rtol=0, atol=5e-6)
    encoder.mask_repeats = False
    assert (encoder(*repeated) - encoder(*once)).abs().max() > 1e-4
    # Frames with one number that are not neighbours are no repetition, nor is one after padding.
    encoder.mask_repeats = True
    index = torch.tensor([[4, 7, 7, 4, 9, 9]])
    padding = torch.tensor([[False, True, False, False, False, False]])
    by_hand = torch.tensor([[False, True, False, False, False, True]])
    mine = encoder(features[None], index, padding)
    encoder.mask_repeats = False
    torch.testing.assert_close(mine, encoder(features[None], index, by_hand), rtol=0, atol=0)


def test_rows_of_the_position_table():
    index = torch.tensor([[0, 3, 9], [0, 5, 10], [0, 1, 2], [20, 30, 40], [0, 0, 10**12]])
    expected = [[0, 3, 9], [0, 4, 9], [0, 1, 2], [0, 4, 9], [0, 0, 9]]
    assert POSITION_RULES["rescale"](index, 10).tolist() == expected
    expected = [[0, 3, 9], [0, 5, 0], [0, 1, 2], [0, 0, 0], [0, 0, 0]]
    assert POSITION_RULES["modulus"](index, 10).tolist() == expected
    evenly = POSITION_RULES["rescale"](torch.arange(0, 8000, 8)[None], 286)
    assert evenly.diff().min() >= 0
    assert evenly.unique().tolist() == list(range(286))
    # A clip far from the beginning of its video keeps its order, and its spacing where there is room.
    clip = 54_000 + torch.arange(0, 160, 10)[None]
    assert POSITION_RULES["rescale"](clip, 286).tolist() == [list(range(0, 160, 10))]
    padded = torch.cat([clip, torch.zeros(1, 2, dtype=torch.int64)], 1)
    assert POSITION_RULES["rescale"](padded, 286)[0, :16].tolist() == list(range(0, 160, 10))


def test_positions_of_padding_and_cls(golden):
    """The rows that the official code takes, and those of masked frames."""
    encoder = official()
    encoder.load_state_dict(encoder_weights(golden))
    seen = []
    encoder.embeddings.position.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    index = golden["f37.frame_index"]
    padding = torch.zeros_like(index, dtype=torch.bool)
    padding[:, -4:] = True
    encoder(golden["f37.features"], index, padding)
    expected = golden["f37.effective_position_ids_padded"][:, 1:38].clone()
    expected[:, -4:] = 63
    torch.testing.assert_close(seen[0], expected)


def test_sine_positions():
    """Channels 2i and 2i + 1: sine and cosine of n / 10000^(2i / C), of row n (Vaswani et al., 2017)."""
    encoder = tiny(positions="sine")
    table = encoder.embeddings.position(torch.tensor([0, 5]))
    assert torch.equal(table[0], torch.tensor([0.0, 1.0] * 24))
    for channel in (0, 2, 46):
        angle = torch.tensor(5 / 10_000 ** (channel / 48))
        expected = torch.stack([angle.sin(), angle.cos()])
        torch.testing.assert_close(table[1, channel : channel + 2], expected)
    names = {*encoder.state_dict()}
    assert names == {*tiny().state_dict()} - {"embeddings.position.weight"}
    assert names == {*tiny(positions="none").state_dict()}


@pytest.mark.parametrize("positions", ["learned", "sine", "none"])
@pytest.mark.parametrize("window", [40, 2])
@torch.no_grad()
def test_what_tells_the_order(positions, window):
    """Positions, or a window that is narrower than the clip."""
    torch.manual_seed(0)
    encoder = tiny(positions=positions, window=window, init_std_embeddings=0.5, init_std=0.1).eval()
    features, index = torch.randn(1, 12, 48), torch.arange(12)[None]
    change = (encoder(features.flip(1), index) - encoder(features, index)).abs().max()
    # Of float32 with values of order 1; backwards, a window shows the same neighbours.
    assert (change < 1e-5) == (positions == "none")
    mixed = features[:, torch.randperm(12)]
    change = (encoder(mixed, index) - encoder(features, index)).abs().max()
    assert (change < 1e-5) == (positions == "none" and window == 40)


def test_first_weights():
    torch.manual_seed(0)
    encoder = TemporalEncoder(num_layers=1)
    assert sum(p.numel() for p in encoder.parameters()) == 8_859_648 + 224_256 + 768
    for name, parameter in encoder.named_parameters():
        if "norm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert not parameter.any()
        else:
            std = 1.0 if name == "cls_token" else 0.02
            # Of n numbers the deviation is off by a part of 1 / sqrt(2 n); five times that.
            close = 5 / (2 * parameter.numel()) ** 0.5
            assert parameter.std().item() == pytest.approx(std, rel=close), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 5}, "width 48 cannot be split into 5 heads"),
        ({"window": 7}, "window is 7: set an even number"),
        ({"num_layers": 0}, "has 0 layers"),
        ({"max_positions": 2}, "table has 2 rows"),
        ({"positions": "cosine"}, "positions are 'cosine': choose learned or sine or none"),
        ({"positions": "sine", "hidden_dim": 9, "num_heads": 3}, "need an even width, not 9"),
        ({"position_rule": "wrap"}, "'wrap': choose rescale or modulus"),
    ],
)
def test_settings_that_do_not_fit(changes, message):
    with pytest.raises(UserError, match=message):
        tiny(**changes)


@torch.no_grad()
def test_half_precision():
    """Close to float32, in a model of half precision as well as under autocast."""
    torch.manual_seed(0)
    encoder = tiny().eval()
    batch = as_batch(random_videos(5, 37), length=40, fill=0.0)
    exact = encoder(*batch)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encoder(*batch), exact, rtol=0, atol=0.05)
    for dtype in (torch.bfloat16, torch.float16):
        output = encoder.to(dtype)(batch[0].to(dtype), *batch[1:])
        assert output.dtype == dtype
        # Outputs of LayerNorm, up to 3, after a dozen roundings each.
        atol = 16 * torch.finfo(dtype).eps
        torch.testing.assert_close(output.float(), exact, rtol=0, atol=atol)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("length", [1, 17, 40])
def test_equals_longformer_of_transformers(length):
    """On random weights: all tokens, and the gradients of a loss on CLS."""
    transformers = pytest.importorskip("transformers")
    config = transformers.LongformerConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        attention_window=[8, 8],
        max_position_embeddings=64,
        vocab_size=2,
        pad_token_id=-1,  # counts from the end, in the table of positions as well
        type_vocab_size=2,
        layer_norm_eps=1e-12,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    theirs = transformers.LongformerModel(config, add_pooling_layer=False).eval()
    encoder = tiny(max_positions=64, dropout=0.0)
    weights = {our_name(name): x for name, x in theirs.state_dict().items()}
    weights = {name: x for name, x in weights.items() if name in encoder.state_dict()}
    encoder.load_state_dict(weights | {"cls_token": encoder.cls_token.data})

    features, index = torch.randn(2, length, 48), torch.arange(length).expand(2, -1)
    missing = -(length + 1) % 8  # a sequence must fill its windows
    cls = encoder.cls_token.detach().expand(2, -1, -1)
    pad = torch.zeros(2, missing, 48)
    mask = torch.ones(2, length + 1 + missing, dtype=torch.int64)
    mask[:, length + 1 :] = 0
    output = theirs(
        inputs_embeds=torch.cat([cls, features, pad], 1),
        attention_mask=mask,
        global_attention_mask=F.one_hot(torch.zeros(2, dtype=torch.int64), mask.shape[1]),
        token_type_ids=F.one_hot(torch.zeros(2, dtype=torch.int64), mask.shape[1]),
        position_ids=F.pad(F.pad(index, (1, 0), value=62), (0, missing), value=63),
    ).last_hidden_state[:, : length + 1]
    # float32 against float32, as the golden arrays.
    torch.testing.assert_close(encoder(features, index, all_tokens=True), output, rtol=0, atol=2e-5)

    upstream = torch.randn(2, 48)
    (output[:, 0] * upstream).sum().backward()
    (encoder(features, index) * upstream).sum().backward()
    mine = dict(encoder.named_parameters())
    compared = 0
    for name, parameter in theirs.named_parameters():
        if our_name(name) in mine and (ours := mine[our_name(name)]).requires_grad:
            torch.testing.assert_close(ours.grad, parameter.grad, rtol=1e-4, atol=1e-4, msg=name)
            compared += 1
    assert compared == sum(p.requires_grad for p in mine.values()) - 1  # all but CLS'


@pytest.mark.parametrize("cls_only", [False, True])
def test_recorded_attention_is_what_the_layer_computes(cls_only):
    torch.manual_seed(0)
    attention = TemporalAttention(8, 2, radius=2, dropout=0.0)
    x, padding = torch.randn(2, 7, 8), torch.zeros(2, 7, dtype=torch.bool)
    padding[1, 5:] = True
    with torch.no_grad(), record_attention(attention) as calls:
        output = attention(x, padding, cls_only)
        (call,) = calls[""]
        rows = torch.tensor([0] if cls_only else [3, 0, 1])
        for item in range(2):
            weights = call.weights(rows, item)
            value = attention._split_heads(attention.value(x))[item]
            value = torch.where(
                (rows == 0)[:, None, None],
                (weights @ attention._split_heads(attention.value_global(x))[item]).transpose(0, 1),
                (weights @ value).transpose(0, 1),
            )
            found = attention.out(value.flatten(1))
            torch.testing.assert_close(found, output[item, rows], rtol=0, atol=1e-6)
            if not cls_only:  # frame 3 sees CLS and two tokens on each side
                assert (weights[0, 0] > 0).tolist() == [True] * (6 - item) + [False] * (1 + item)
