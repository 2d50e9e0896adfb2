"""Official checkpoints key by key and back, their class rows, and larger models out of smaller ones."""

import gzip
import json

import pytest
import torch
from d2video.projects.trackformer.network.widening import widen, widener
from detectron2.modeling import build_model

from d2video.checkpoint import CONVERTER_REGISTRY, adapt_foreign, from_foreign, to_foreign
from d2video.config import load_cfg
from d2video.layers.deformable_transformer import DeformableTransformer
from d2video.layers.level_geometry import LevelGeometry
from d2video.projects import register_all
from d2video.utils.errors import UserError
from tests.helpers.golden_io import GOLDEN

register_all()

OFFICIAL = json.loads(
    gzip.decompress((GOLDEN / "trackformer_state_dict_shapes.json.gz").read_bytes())
)
DEFORMABLE = "MODEL.TRACKFORMER.DEFORMABLE."
SINGLE_FRAME = [
    *(f"{DEFORMABLE}NUM_FRAMES", 1, "MODEL.TRACKFORMER.HIDDEN_DIM", 256),
    *("MODEL.TRACKFORMER.NUM_QUERIES", 300, f"{DEFORMABLE}OFFSET_UNIT", "wh"),
]
COCO = [*SINGLE_FRAME, "MODEL.TRACKFORMER.NUM_CLASSES", 91]
# The official model of each list: config, what differs from it, format.
MODELS = {
    "deformable_multi_frame": ("mot17_private", [], "trackformer"),
    "deformable": ("mot17_private", SINGLE_FRAME, "trackformer"),
    "detr_masks_track_attention": ("mots20", [], "trackformer"),
    "deformable_detr_coco": ("mot17_private", COCO, "deformable_detr"),
}


def config(name, *options):
    return load_cfg(
        f"configs/TrackFormer/trackformer_{name}.yaml", [*options, "MODEL.DEVICE", "meta"]
    )


def build(name, *options):
    return build_model(config(name, *options))


def foreign(shapes):
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes(state):
    return {name: list(value.shape) for name, value in state.items()}


def convert(state, model, name, widen=None):
    fmt = CONVERTER_REGISTRY["TrackFormer"][name]
    state, notes = adapt_foreign(state, model, fmt, widen)
    return (*from_foreign(state, model, fmt), notes)


@pytest.mark.parametrize("name", MODELS)
def test_official_files_key_by_key_and_back(name):
    config_name, options, fmt = MODELS[name]
    model = build(config_name, *options)
    parameters = list(model.parameters())
    assert sum(p.numel() for p in parameters) == OFFICIAL[name]["parameters"]
    trainable = [p for p in parameters if p.requires_grad]
    assert sum(p.numel() for p in trainable) == OFFICIAL[name]["trainable"]

    official = foreign(OFFICIAL[name]["shapes"])
    ours, fresh, unused, notes = convert(official, model.state_dict(), fmt)
    assert shapes(ours) == shapes(model.state_dict())
    assert fresh == unused == []
    assert "class rows: " in notes[0]
    back = to_foreign(ours, model.state_dict(), CONVERTER_REGISTRY["TrackFormer"][fmt])
    assert shapes(back) == OFFICIAL[name]["shapes"]


def test_older_files_have_a_prefix_before_the_detector():
    """Of DETRsegm, as the official code strips it."""
    model = build("mots20").state_dict()
    official = {
        (name if name.startswith(("mask_head.", "bbox_attention.")) else f"detr.{name}"): value
        for name, value in foreign(OFFICIAL["detr_masks_track_attention"]["shapes"]).items()
    }
    ours, fresh, unused, _ = convert(official, model, "trackformer")
    assert ours.keys() == model.keys()
    assert fresh == unused == []


def test_two_stage_files_have_queries_and_names_without_use():
    options = (f"{DEFORMABLE}TWO_STAGE", True, *COCO)
    model = build("mot17_private", *options).state_dict()
    fmt = CONVERTER_REGISTRY["TrackFormer"]["deformable_detr"]
    official = foreign(shapes(to_foreign(model, model, fmt)))
    assert official["transformer.enc_output.weight"].shape == (256, 256)
    assert official["class_embed.6.bias"].shape == (91,)
    extra = {"query_embed.weight": [300, 512], "transformer.decoder.class_embed.0.bias": [91]}
    _, fresh, unused, _ = convert(official | foreign(extra), model, "deformable_detr")
    assert fresh == []
    assert set(unused) == set(extra)


MERGED = (f"{DEFORMABLE}MERGE_FRAME_FEATURES", True)
JOINT = (f"{DEFORMABLE}MULTI_FRAME_ATTENTION_SEPARATE_ENCODER", False)


def test_merged_frames_have_official_names_and_start_anew_on_a_detector():
    model = build("mot17_private", *MERGED, *JOINT).state_dict()
    official = to_foreign(model, model, CONVERTER_REGISTRY["TrackFormer"]["trackformer"])
    merging = [f"merge_features.{n}.{kind}" for n in range(4) for kind in ("weight", "bias")]
    separate = OFFICIAL["deformable_multi_frame"]["shapes"]
    assert official.keys() ^ separate.keys() == {*merging}
    other = {n for n in separate if list(official[n].shape) != separate[n]}
    assert len(other) == 24  # offsets and weights, their weights and biases, of 6 encoder layers
    assert all(".encoder.layers." in name for name in other)
    ours, fresh, unused, _ = convert(foreign(shapes(official)), model, "trackformer")
    assert ours.keys() == model.keys()
    assert fresh == unused == []
    detector = foreign(OFFICIAL["deformable_detr_coco"]["shapes"])
    single = build("mot17_private", *SINGLE_FRAME, *MERGED).state_dict()
    _, fresh, unused, _ = convert(detector, single, "deformable_detr")
    assert fresh == [f"network.{name}" for name in merging]
    assert unused == []


# ---- class rows ---------------------------------------------------------------------------------


def numbered_rows(official):
    """Class heads whose rows hold their own number."""
    return official | {
        name: torch.arange(float(len(value))).view(-1, *[1] * (value.dim() - 1)).expand(value.shape)
        for name, value in official.items()
        if name.removeprefix("detr.").startswith("class_embed.")
    }


def class_rows(ours):
    """The number that each row had in the file, the same for all layers, weights and biases."""
    heads = [value.view(len(value), -1) for name, value in ours.items() if ".class_embed." in name]
    first, *others = [value[:, 0].tolist() for value in heads]
    assert all(rows == first for rows in others)
    return first


@pytest.mark.parametrize(
    ("classes", "rows", "note"),
    [
        (20, [*range(1, 21)], "1-20 of the file's 91 are taken: class c is category id c + 1"),
        (1, [1], "1 of the file's 91 are taken: class c is category id c + 1 (person: 0)"),
        (80, [*range(1, 12), 13, 14], "1-11, 13-25, 27-28, 31-44, 46-65, 67, 70, 72-82, 84-90 of"),
        (91, [*range(91)], "0-90 of the file's 91 are taken: class c is category id c (person: 1"),
    ],
)
def test_class_rows_of_a_coco_deformable_detr(classes, rows, note):
    """Row 1 is the person, which is class 0 here; the official code would take row 0."""
    options = (*SINGLE_FRAME, "MODEL.TRACKFORMER.NUM_CLASSES", classes)
    model = build("mot17_private", *options).state_dict()
    official = numbered_rows(foreign(OFFICIAL["deformable_detr_coco"]["shapes"]))
    ours, _, _, notes = convert(official, model, "deformable_detr")
    found = class_rows(ours)
    assert len(found) == classes
    assert found[: len(rows)] == rows
    assert notes[0].startswith(f"class rows: {note}")
    assert notes[1].endswith("OFFSET_UNIT wh, now and in every training that starts from them")
    assert len(notes) == 2


def test_proposals_of_a_two_stage_coco_model_keep_their_row():
    """They are ranked by row 0 of their own head, which is no class."""
    options = (f"{DEFORMABLE}TWO_STAGE", True, *SINGLE_FRAME)
    coco = build("mot17_private", *options, "MODEL.TRACKFORMER.NUM_CLASSES", 91).state_dict()
    model = build("mot17_private", *options).state_dict()
    fmt = CONVERTER_REGISTRY["TrackFormer"]["deformable_detr"]
    official = numbered_rows(to_foreign(coco, coco, fmt))
    ours, _, _, notes = convert(official, model, "deformable_detr")
    assert ours["network.class_embed.5.bias"].tolist() == [*range(1, 21)]
    assert ours["network.class_embed.6.bias"].tolist() == [*range(20)]
    assert notes[1].startswith("rows of proposals: 0-19")
    headless = {name: v for name, v in official.items() if not name.startswith("class_embed.")}
    with pytest.raises(UserError, match="14 missing: class_embed.0.bias"):
        convert(headless, model, "deformable_detr")


@pytest.mark.parametrize(
    ("file", "masks", "fmt", "last"),
    [
        ("detr_resnet50", False, "detr", 91),
        ("detr_resnet50_panoptic", True, "detr_segm", 250),
    ],
)
def test_official_detr_starts_a_tracker(file, masks, fmt, last):
    """The row of "no object" goes along; the track attention starts anew."""
    model = build("mots20", "MODEL.MASK_ON", masks, "DATASETS.TEST", []).state_dict()
    official = foreign(json.loads((GOLDEN / f"{file}_state_dict_shapes.json").read_text()))
    ours, fresh, unused, notes = convert(numbered_rows(official), model, fmt)
    assert class_rows(ours) == [*range(1, 21), last]
    assert {name.split(".")[1] for name in fresh} == {"track_attention"}
    assert unused == []
    assert len(notes) == 1  # no remark on sampling offsets
    assert 'and the last, "no object", are taken' in notes[0]


def test_the_mask_head_of_a_detr_alone():
    model = build("coco_person_masks").state_dict()
    path = GOLDEN / "detr_resnet50_panoptic_state_dict_shapes.json"
    official = foreign(json.loads(path.read_text()))
    ours, fresh, unused, _ = convert(official, model, "detr_segm_masks")
    assert {name.split(".")[1] for name in ours} == {"mask_branch"}
    assert ours.keys() | set(fresh) == model.keys()
    assert len(ours) + len(unused) == len(official)


def test_other_class_counts_are_refused():
    model = build("mot17_private", *SINGLE_FRAME).state_dict()
    official = foreign(OFFICIAL["deformable"]["shapes"])
    for name in official:
        if name.startswith("class_embed."):
            official[name] = official[name][:7]
    for fmt in ("trackformer", "deformable_detr"):
        with pytest.raises(
            UserError, match=r"12 misshapen.*class_embed.*\(7, 256\) instead of \(20"
        ):
            convert(official, model, fmt)


# ---- widening -----------------------------------------------------------------------------------


def test_a_smaller_model_is_refused_in_one_line_unless_asked():
    model = build("mot17_private").state_dict()
    official = foreign(OFFICIAL["deformable_detr_coco"]["shapes"])
    with pytest.raises(
        UserError, match=r"level_embed \(4, 256\) instead of \(8, 288\).*--widen"
    ) as error:
        convert(official, model, "deformable_detr")
    assert "\n" not in str(error.value)


def test_widening_lists_all_that_it_changes():
    model = build("mot17_private").state_dict()
    official = foreign(OFFICIAL["deformable_detr_coco"]["shapes"])
    fmt = CONVERTER_REGISTRY["TrackFormer"]["deformable_detr"]
    ours, fresh, unused, notes = convert(
        official, model, "deformable_detr", fmt.widen(config("mot17_private"))
    )
    assert shapes(ours) == shapes(model)
    assert fresh == unused == []
    own_names = {fmt.name_of(name): value for name, value in model.items()}
    changed = {
        name
        for name, value in official.items()
        if value.shape[1:] != own_names[name].shape[1:]
        or (len(value) != len(own_names[name]) and not name.startswith("class_embed."))
    }
    listed = [
        name for note in notes if "enlarged" in note for name in note.split(": ")[1].split(", ")
    ]
    assert set(listed) == changed
    assert len(listed) == len(changed)
    text = "\n".join(notes)
    assert "enlarged (300, 512) -> (500, 576), queries 300 to 499 anew, old channels" in text
    assert "enlarged (4, 256) -> (8, 288), every frame like the one, old channels" in text
    assert "12 enlarged (256,) -> (512,), every frame like the one: " not in text  # 6 layers
    assert "6 enlarged (256,) -> (512,), every frame like the one: " in text


def transformer(width=64, frames=1, separate=True):
    torch.manual_seed(1)
    model = DeformableTransformer(
        *(width, 4, 2, 2, 48, 0.0),
        num_levels=2,
        num_frames=frames,
        encoder_points=2,
        decoder_points=3,
        separate_encoder=separate,
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def prefixed(model):
    return {f"transformer.{name}": value for name, value in model.state_dict().items()}


@pytest.mark.parametrize("separate", [True, False])
def test_of_equal_frames_more_frames_say_the_same_as_one(separate):
    """Up to the positions, which are equal here."""
    one, two = transformer(), transformer(frames=2, separate=separate)
    widened, notes = widen(prefixed(one), prefixed(two), num_heads=4, num_levels=2)
    # Level embedding; offsets and weights, their weights and biases, of the decoder (and the encoder).
    assert len(notes) == (5 if separate else 9)
    two.load_state_dict({name.removeprefix("transformer."): v for name, v in widened.items()})
    # Twice as many terms are summed. All in float32 differs by more than 1e-5 on some processors; so, with
    # the sampling and its sums in float32 (as MSDeformAttn has them), by 5e-6.
    one, two = one.double(), two.double()
    double = {"dtype": torch.float64}
    levels = [torch.randn(1, 64, 6, 8, **double), torch.randn(1, 64, 3, 4, **double)]
    geometry = LevelGeometry.of(levels, None)
    tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)[:, None]
    pos = torch.randn_like(tokens)
    queries, query_pos = torch.randn(2, 1, 5, 64, **double)
    reference = torch.rand(1, 5, 2, **double)
    with torch.no_grad():
        expected, _ = one.decode(
            queries, query_pos, reference, one.encode(tokens, pos, geometry), geometry
        )
        memory = two.encode(tokens.expand(-1, 2, -1, -1), pos.expand(-1, 2, -1, -1), geometry)
        found, _ = two.decode(queries, query_pos, reference, memory, geometry)
        other = two.encode(
            torch.cat([tokens + 1, tokens], dim=1), pos.expand(-1, 2, -1, -1), geometry
        )
        changed, _ = two.decode(queries, query_pos, reference, other, geometry)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(changed, expected, atol=1e-2)  # the previous frame is looked at


def test_old_channels_take_no_notice_of_new_ones():
    small, large = transformer(64), transformer(96)
    widened, _ = widen(prefixed(small), prefixed(large), num_heads=4, num_levels=2)
    old = torch.cat(
        [torch.arange(g * 3, g * 3 + 2) for g in range(32)]
    )  # 2 channels a group, then 3
    new = torch.tensor([index for index in range(96) if index not in old])
    layer = "transformer.decoder.layers.1."
    before, after = (s[layer + "cross_attn.value_proj.weight"] for s in (prefixed(small), widened))
    assert torch.equal(after[old][:, old], before)
    assert not after[old][:, new].any()
    fresh = prefixed(large)[layer + "cross_attn.value_proj.weight"]
    assert torch.equal(after[new], fresh[new])
    # Query, key and value of the heads, each in its third.
    before, after = (s[layer + "self_attn.in_proj_weight"] for s in (prefixed(small), widened))
    assert torch.equal(after.view(3, 96, 96)[:, old][:, :, old], before.view(3, 64, 64))
    # Rows that are no channels stay; embeddings have new channels.
    before, after = (
        s[layer + "cross_attn.sampling_offsets.weight"] for s in (prefixed(small), widened)
    )
    assert torch.equal(after[:, old], before)
    assert not after[:, new].any()
    before, after = (s["transformer.level_embed"] for s in (prefixed(small), widened))
    assert torch.equal(after[:, old], before)
    assert torch.equal(after[:, new], prefixed(large)["transformer.level_embed"][:, new])


def test_what_cannot_be_widened():
    large, small = prefixed(transformer(96)), prefixed(transformer(64))
    widened, notes = widen(large, small, num_heads=4, num_levels=2)  # smaller
    assert notes == []
    assert shapes(widened) == shapes(large)
    # Two frames become no four, as their rows differ, but two wider ones.
    two, wider = prefixed(transformer(frames=2)), prefixed(transformer(96, frames=2))
    assert shapes(widen(two, wider, num_heads=4, num_levels=2)[0]) == shapes(wider)
    _, notes = widen(
        prefixed(transformer(frames=2)), prefixed(transformer(frames=4)), num_heads=4, num_levels=2
    )
    assert notes == []
    assert widen({"conv.weight": torch.ones(1)}, large, num_heads=4, num_levels=2)[1] == []
    with pytest.raises(UserError, match="--widen is for models with .*DEFORMABLE.ENABLED"):
        widener(config("mots20"))
    with pytest.raises(UserError, match="heads that divides 32: .*NUM_HEADS is 6"):
        widener(config("mot17_private", "MODEL.TRACKFORMER.NUM_HEADS", 6))
