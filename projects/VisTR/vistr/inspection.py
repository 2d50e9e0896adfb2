"""VisTR's inside on one clip.

Shapes: T: frames, S: slots, h: heads, H_f×W_f: the transformer's feature map, H_m×W_m: that of the masks.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from d2video.projects.vistr.network import VisTRNetwork
from d2video.projects.vistr.vistr import VisTR
from torch import Tensor

from d2video.inspection import Look, Maps, Points, QueryRun, record_queries, sections, shown
from d2video.inspection.drawing import boxed, heat, mark, sheet
from d2video.inspection.matrix import matrix
from d2video.modeling.predictions import Encoded
from d2video.report import Media, Section, Table
from d2video.visualization.primitives import label_of_class

_SLOTS = 3  # with pictures, unless --queries names some
_QUERIES = 3  # of a slot, whose attention is shown as strips
_COLUMNS = 6  # of a strip
_SIDE = 240  # of its frames, in pixels


@sections.register
def inspect_vistr(model: VisTR, look: Look) -> Iterator[Section]:
    """The page of VisTR; see :mod:`d2video.inspection`."""
    network = model.network
    count = network.num_frames
    look.takes("points", "queries", "layer")
    frames = look.frames(count, least=count)
    clips, _ = model.batch([torch.stack(look.inputs(frames))])
    run = record_queries(network, lambda: network(clips, None), num_frames=count)
    scores, classes = model.best_classes(run.predictions.logits[-1, 0])
    scores, classes = scores.view(count, -1), classes.view(count, -1)
    means = scores.mean(0)
    best = means.argsort(descending=True)[:_SLOTS].tolist()
    slots = look.chosen("slot", look.queries, network.num_slots)
    slots = slots or [slot for slot in best if means[slot] >= look.score]
    titles = [
        f"slot {s}: {_class_name(model, look, classes[:, s])} {scores[:, s].mean():.2f}"
        for s in range(network.num_slots)
    ]
    table = Table(
        "class of most frames and score (mean over the frames) by slot",
        ["slot", "class", "score"],
        [
            [str(s), _class_name(model, look, classes[:, s]), float(scores[:, s].mean())]
            for s in range(network.num_slots)
        ],
        decimals=2,
    )
    notes = [
        f"The clip: frames {look.first} to {look.first + count - 1}. Scores are those of the class head, "
        "before MASK_SCORES and SOFT_NMS."
    ]
    if not slots:
        slots = best[:1]
        notes.append(f"No slot has a score of {look.score:g} or more. The best one is shown.")
    yield Section("Slots", notes, tables=[table])
    pictures = [shown(frame, _SIDE) for frame in frames]
    if look.points:
        yield _encoder_section(run, look, pictures, frames[0].shape[1::-1])
    chosen = [(slot, titles[slot]) for slot in slots]
    yield _frame_section(run, look, pictures, chosen)
    yield _attention_section(network, run, look, pictures, chosen, scores)
    yield _convolution_section(network, run, look, pictures, chosen)


def frame_shares(run: QueryRun, slot: int, num_slots: int, layer: int = -1) -> Tensor:
    """How a slot's queries divide their attention among the frames.

    Args:
        run: of the network on a clip.
        slot: in [0, S).
        num_slots: S.
        layer: of the decoder.

    Returns:
        (T, T): row t is of the slot's query of frame t, and sums to 1; column u is frame u.
    """
    attention = run.decoder_attention(slot_queries(slot, num_slots, run.num_frames), layer)
    return torch.stack([attention.by_frame(t) for t in range(run.num_frames)])


def slot_queries(slot: int, num_slots: int, num_frames: int) -> list[int]:
    """The numbers of a slot's queries, of frames 0 to T - 1."""
    return [t * num_slots + slot for t in range(num_frames)]


def mask_attention(network: VisTRNetwork, encoded: Encoded, slot: int) -> Tensor:
    """The mask attention maps of a slot in a clip, before the mask head, (T, h, H_f, W_f).

    Those of a frame sum to 1; with MODEL.VISTR.QUERY_MASKS they are products of any sign, and their sum
    over the heads is a mask logit.
    """
    attention = network.mask_attention
    assert attention is not None, "MODEL.VISTR.MASK_ATTENTION is False"
    queries = encoded.queries[:, slot : slot + 1]
    return attention(queries, encoded.memory, encoded.padding, encoded.positions)[:, 0]


def still_masks(network: VisTRNetwork, encoded: Encoded, slot: int) -> Tensor:
    """The mask logits (T, H_m, W_m) of a slot in a clip whose 3D convolutions see no motion.

    For frame t they read its mask features T times, in place of those of the T frames, and their
    answer at place t is taken. All else is as in :meth:`VisTRNetwork.masks`.
    """

    def one_frame_at_a_time(head: torch.nn.Module, args: tuple[Tensor], _: Tensor) -> Tensor:
        (features,) = args  # (1, T, C, H_m, W_m)
        times = features.shape[1]
        answers = [
            head.forward(features[:, t : t + 1].expand(-1, times, -1, -1, -1))[:, t]
            for t in range(times)
        ]
        return torch.stack(answers, 1)

    hook = network.insmask_head.register_forward_hook(one_frame_at_a_time)
    try:
        with torch.compiler.set_stance("force_eager"):
            return clip_masks(network, encoded, slot)
    finally:
        hook.remove()


def clip_masks(network: VisTRNetwork, encoded: Encoded, slot: int) -> Tensor:
    """The mask logits (T, H_m, W_m) of a slot in a clip."""
    slots = torch.tensor([slot], device=encoded.memory.device)
    return network.masks(encoded, torch.zeros_like(slots), slots)[0]


def _class_name(model: VisTR, look: Look, classes: Tensor) -> str:
    """Of the class that most of the frames have, (T,)."""
    index = int(classes.mode().values) - model.label_offset
    return label_of_class(index, look.predictor.class_names) if index >= 0 else "–"


def _strip(
    look: Look, name: str, cells: Sequence[np.ndarray], caption: str, shares: Tensor | None = None
) -> Media:
    """One picture of the clip's frames, with their numbers and, if given, shares (T,)."""
    titles = [f"frame {look.first + t}" for t in range(len(cells))]
    if shares is not None:
        titles = [f"{title}: {100 * share:.0f} %" for title, share in zip(titles, shares)]
    columns = min(_COLUMNS, len(cells))
    return look.media(name, sheet(cells, titles, columns), caption, wide=True)


def _encoder_section(
    run: QueryRun, look: Look, pictures: list[np.ndarray], size: tuple[int, ...]
) -> Section:
    width, height = size
    where = [(x / width, y / height) for x, y in look.points]
    layer = look.layer_of("encoder", len(run.encoder))
    attention = run.encoder_attention(where, layer)
    media = []
    for row, point in enumerate(where):
        cells, shares = _cells(attention, row, pictures), attention.by_frame(row)
        cells[0] = mark(cells[0], point)
        caption = (
            f"from the point at {100 * point[0]:.0f} %, {100 * point[1]:.0f} % of the first frame"
        )
        media.append(_strip(look, f"encoder_{row}", cells, caption, shares))
    note = (
        f"Where points of the first frame, under the crosses, look in layer {layer} of the encoder: mean "
        "over heads, or all sampled points, and each frame's share."
    )
    return Section("Encoder self-attention", [note], media)


def _cells(attention: Maps | Points, row: int, pictures: list[np.ndarray]) -> list[np.ndarray]:
    """The attention of a row over the frames that it sees, from the first on."""
    seen = attention.weights.shape[2]
    return [attention.picture(each, row, time=time) for time, each in enumerate(pictures[:seen])]


def _frame_section(
    run: QueryRun, look: Look, pictures: list[np.ndarray], chosen: list[tuple[int, str]]
) -> Section:
    count = len(pictures)
    layer = look.layer_of("decoder", len(run.decoder))
    num_slots = run.predictions.logits.shape[2] // count
    places = torch.linspace(0, count - 1, min(_QUERIES, count)).round().long().tolist()
    media = []
    for slot, title in chosen:
        queries = slot_queries(slot, num_slots, count)
        attention = run.decoder_attention([queries[t] for t in places], layer)
        for row, time in enumerate(places):
            cells = _cells(attention, row, pictures)
            cells[time] = boxed(cells[time], run.predictions.boxes[-1, 0, queries[time]])
            caption = f"{title}, query of frame {look.first + time}, with its box"
            name = f"decoder_slot{slot}_frame{time}"
            media.append(_strip(look, name, cells, caption, attention.by_frame(row)))
    numbers = [str(look.first + t) for t in range(count)]
    for slot, title in chosen:
        shares = 100 * frame_shares(run, slot, num_slots, layer)
        drawn = matrix(
            shares,
            "query of frame",
            "looks at frame",
            row_names=numbers,
            column_names=numbers,
            lowest=0,
        )
        media.append(look.media(f"frames_slot{slot}", drawn, f"{title}: shares in %"))
    note = (
        f"Where the queries of an instance look in layer {layer} of the decoder, mean over heads, with "
        "each frame's share of the attention. The matrices show these shares for the queries of all "
        f"frames. Equal attention would give each frame {100 / count:.0f} %."
    )
    return Section("Which frames the queries look at", [note], media)


def _attention_section(
    network: VisTRNetwork,
    run: QueryRun,
    look: Look,
    pictures: list[np.ndarray],
    chosen: list[tuple[int, str]],
    scores: Tensor,
) -> Section:
    encoded, attention = run.predictions.encoded, network.mask_attention
    assert encoded is not None
    if attention is None:
        note = "The model has no mask attention (MODEL.VISTR.MASK_ATTENTION False)."
        return Section("Mask attention", [note])
    media = []
    for slot, title in chosen:
        maps = mask_attention(network, encoded, slot)
        if attention.query_masks:
            whole, largest = attention.mask_logits(maps).sigmoid(), 1.0
        else:
            whole = maps.sum(1)
            largest = float(whole.max())
        cells = [heat(each, one, largest) for each, one in zip(pictures, whole, strict=True)]
        media.append(_strip(look, f"attention_slot{slot}", cells, title))
        time = int(scores[:, slot].argmax())
        low, high = float(maps[time].min()), float(maps[time].max())
        by_head = [heat(pictures[time], one - low, high - low) for one in maps[time]]
        caption = (
            f"{title}, frame {look.first + time}, by head: dark is {low:.3g}, bright {high:.3g}"
        )
        names = [f"head {head}" for head in range(len(by_head))]
        drawn = sheet(by_head, names, 4)
        media.append(look.media(f"attention_slot{slot}_heads", drawn, caption, wide=True))
    kind = (
        "Heads are summed to mask probabilities, which the mask head then corrects (QUERY_MASKS)."
        if attention.query_masks
        else "Heads are summed; the weights of a frame, over all heads and pixels, sum to 1."
    )
    note = f"The maps from which the mask head starts, at the size of the transformer's features. {kind}"
    return Section("Mask attention", [note], media)


def _convolution_section(
    network: VisTRNetwork,
    run: QueryRun,
    look: Look,
    pictures: list[np.ndarray],
    chosen: list[tuple[int, str]],
) -> Section:
    encoded = run.predictions.encoded
    assert encoded is not None
    title = "What the 3D convolutions change"
    if len(network.insmask_head) == 1:
        return Section(title, ["The model has no 3D convolutions (MODEL.VISTR.CONV3D_LAYERS 0)."])
    media, tables = [], []
    for slot, name in chosen:
        logits = clip_masks(network, encoded, slot), still_masks(network, encoded, slot)
        moving, still = (each.sigmoid() for each in logits)
        change = (moving - still).abs()
        top = float(change.max())
        for kind, maps, largest, what in (
            ("clip", moving, 1.0, "mask probabilities as predicted"),
            ("still", still, 1.0, "each frame's features repeated over the clip"),
            ("change", change, top, f"absolute difference of the two (bright: {top:.2f})"),
        ):
            cells = [heat(each, one, largest) for each, one in zip(pictures, maps, strict=True)]
            media.append(_strip(look, f"masks_slot{slot}_{kind}", cells, f"{name}: {what}"))
        tables.append(_mask_table(look, name, *logits))
    note = (
        "The 3D convolutions join the mask features of the frames. First the masks as predicted. For the "
        "second ones the convolutions read, for each frame, its features in place of every frame's, so "
        "that they see no other frame; attention, mask head and weights are the same. Last the difference. "
        "Their dilation is 2: they join frames at even distances; the others meet only in group norm."
    )
    return Section(title, [note], media, tables)


def _mask_table(look: Look, title: str, moving: Tensor, still: Tensor) -> Table:
    """Sizes and overlap of two masks by frame, from logits (T, H_m, W_m)."""
    first, second = (moving > 0).flatten(1), (still > 0).flatten(1)
    common, either = (first & second).sum(1), (first | second).sum(1)
    sizes = [100 * each.float().mean(1) for each in (first, second)]
    rows: list[list[str | float | None]] = [
        [
            str(look.first + t),
            float(sizes[0][t]),
            float(sizes[1][t]),
            100 * float(common[t] / either[t]) if either[t] else None,
        ]
        for t in range(len(first))
    ]
    header = ["frame", "as predicted (%)", "frames repeated (%)", "IoU of both (%)"]
    return Table(f"{title}: share of the frame that the mask covers", header, rows)
