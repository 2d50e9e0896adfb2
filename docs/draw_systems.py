"""Write the drawings that explain the systems: docs/images/<name>.svg.

Every drawing is a card with a background of its own, so that it can be read on any page. Its colours follow
the reader's light or dark mode. The colours a, b and c stand for objects; what belongs to an object has its
colour.
"""

from html import escape
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
WIDTH = 760
STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --box: #f3f5f7; --line: #c4ccd4;
        --a: #0969da; --b: #c2570c; --c: #1a7f37; font-family: system-ui, Helvetica, Arial, sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #14181d; --ink: #eef2f6; --soft: #a3acb6; --box: #20262d; --line: #4a535d;
          --a: #58a6ff; --b: #f0883e; --c: #3fb950; } }
  .paper { fill: var(--paper); stroke: var(--line); }
  .box { fill: var(--box); stroke: var(--line); }
  .frame { fill: var(--paper); stroke: var(--soft); }
  .arrow { fill: none; stroke: var(--soft); stroke-width: 1.5; marker-end: url(#head); }
  .link { fill: none; stroke: var(--line); }
  .head { fill: var(--soft); }
  text { fill: var(--ink); font-size: 13px; }
  .soft { fill: var(--soft); font-size: 12px; }
  .a { fill: var(--a); } .b { fill: var(--b); } .c { fill: var(--c); } .none { fill: var(--line); }
  .to-a { stroke: var(--a); } .to-b { stroke: var(--b); } .to-c { stroke: var(--c); }
  .to-a, .to-b, .to-c { fill: none; stroke-width: 2; }
"""


def card(height: int, title: str, caption: str, parts: list[str]) -> str:
    """A whole drawing; ``title`` is what a screen reader says, the caption is at the bottom."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path class="head" d="M0 0 L8 4 L0 8 Z"/></marker></defs>',
            f'<rect class="paper" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
            *parts,
            text(WIDTH / 2, height - 18, caption),
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text{style} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def rect(x: float, y: float, width: float, height: float, kind: str = "box", round: int = 3) -> str:
    size = f'width="{width:g}" height="{height:g}" rx="{round}"'
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" {size}/>'


def dot(x: float, y: float, kind: str, radius: float = 7) -> str:
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'


def path(d: str, kind: str = "arrow") -> str:
    return f'<path class="{kind}" d="{d}"/>'


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    return path(f"M{x:g} {y:g} L{to_x:g} {to_y:g}")


def box(x: float, y: float, width: float, height: float, name: str, *lines: str) -> str:
    """A part of a network: its name, and below it what it does."""
    middle = y + height / 2 + 4 - 8 * len(lines)
    words = [text(x + width / 2, middle, name)]
    words += [
        text(x + width / 2, middle + 17 * (n + 1), line, "soft") for n, line in enumerate(lines)
    ]
    return "".join([rect(x, y, width, height, round=6), *words])


def triangle(x: float, y: float, kind: str, size: float = 11) -> str:
    corners = f"M{x:g} {y - size:g} L{x + size:g} {y + size:g} L{x - size:g} {y + size:g} Z"
    return path(corners, kind)


def scene(x: float, y: float, a: float | None, b: float | None, boxes: bool = False) -> str:
    """A frame of 92×60 with a disc and a triangle that far from its left side, if at all."""
    parts = [rect(x, y, 92, 60, "frame")]
    if a is not None:
        parts += [dot(x + a, y + 20, "a", 10)]
        parts += [rect(x + a - 14, y + 6, 28, 28, "to-a")] if boxes else []
    if b is not None:
        parts += [triangle(x + b, y + 41, "b")]
        parts += [rect(x + b - 15, y + 26, 30, 30, "to-b")] if boxes else []
    return "".join(parts)


def vistr() -> str:
    parts = [text(64, 26, "T frames", "soft"), text(262, 26, "tokens", "soft")]
    parts += [box(136, 40, 82, 220, "backbone", "each frame", "separately")]
    parts += [box(300, 40, 96, 220, "encoder", "every token", "attends to", "all frames")]
    parts += [box(420, 40, 96, 220, "decoder", "T × slots", "learned", "queries")]
    parts += [arrow(278, 150, 298, 150), arrow(398, 150, 418, 150)]
    for slot in range(3):
        parts.append(text(556 + 30 * slot, 26, str(slot + 1), "soft"))
    parts += [text(528, 26, "slot", "soft")]
    for t, (a, b) in enumerate([(18, 72), (26, 64), (34, 58)]):
        y = 40 + 80 * t
        parts += [arrow(112, y + 30, 134, y + 30), arrow(220, y + 30, 248, y + 30)]
        parts += [rect(256, y + 2 + 12 * n, 10, 10, "none") for n in range(5)]
        parts += [arrow(518, y + 30, 538, y + 30), arrow(630, y + 30, 646, y + 30)]
        parts += [dot(556 + 30 * n, y + 30, kind) for n, kind in enumerate(["a", "b", "none"])]
        parts += [scene(18, y, a, b), scene(650, y, a, b, boxes=True)]
    parts += [rect(543, 48, 26, 206, "to-a", 8), rect(573, 48, 26, 206, "to-b", 8)]
    parts += [text(262, 284, "one sequence", "soft"), text(696, 284, "class, box, mask", "soft")]
    parts += [text(586, 284, "predictions", "soft")]
    title = "VisTR: a clip becomes one sequence of tokens, and T times slots queries answer"
    caption = "The same slot in every frame is the same instance, so a clip needs no linking."
    return card(334, title, caption, parts)


def trackformer() -> str:
    parts = []
    frames = [("t − 1", 20, None, "", "a"), ("t", 27, 74, "a", "ab"), ("t + 1", 34, 66, "ab", "ab")]
    for column, (name, a, b, tracked, found) in enumerate(frames):
        x = 24 + 250 * column
        parts += [scene(x + 32, 36, a, b, boxes=True), text(x + 78, 26, f"frame {name}", "soft")]
        parts += [arrow(x + 78, 98, x + 78, 114), box(x, 116, 156, 34, "backbone, encoder")]
        parts += [arrow(x + 78, 152, x + 78, 168), box(x, 170, 156, 34, "decoder")]
        parts += [arrow(x + 36, 246, x + 36, 206), arrow(x + 126, 246, x + 126, 206)]
        parts += [dot(x + 26 + 20 * n, 258, kind) for n, kind in enumerate(tracked)]
        parts += [] if tracked else [text(x + 36, 262, "none yet", "soft")]
        parts += [rect(x + 99 + 20 * n, 251, 14, 14, "none") for n in range(3)]
        parts += [text(x + 30, 284, "track queries", "soft")]
        parts += [text(x + 126, 284, "object queries", "soft")]
        parts += [path(f"M{x + 158} 187 L{x + 176} 187")]
        parts += [dot(x + 186 + 18 * n, 187, kind) for n, kind in enumerate(found)]
        if column < 2:
            start = x + 186 + 9 * (len(found) - 1)
            parts += [path(f"M{start} 198 C{start} 260 {x + 210} 258 {x + 262} 258")]
    title = "TrackFormer: track queries carry objects from frame to frame"
    caption = (
        "A track query carries its object into the next frame. Object queries find new objects."
    )
    return card(334, title, caption, parts)


def detr() -> str:
    parts = [scene(18, 112, 28, 62), text(64, 194, "image", "soft")]
    parts += [arrow(x, 142, x + 14, 142) for x in (112, 214, 316, 418)]
    parts += [box(128, 92, 84, 100, "backbone", "feature map", "as tokens")]
    parts += [box(230, 92, 84, 100, "encoder", "tokens see", "each other")]
    parts += [box(332, 92, 84, 100, "decoder", "queries see", "the image")]
    parts += [rect(337 + 16 * n, 222, 10, 10, "none") for n in range(5)]
    parts += [arrow(374, 218, 374, 194), text(374, 252, "N learned queries", "soft")]
    names = {"a": "disc", "b": "triangle", "none": "no object"}
    parts += [text(492, 34, "N predictions", "soft"), text(690, 34, "ground truth", "soft")]
    for n, kind in enumerate(["b", "none", "none", "a", "none"]):
        parts += [rect(434, 46 + 42 * n, 116, 32, round=6), dot(452, 62 + 42 * n, kind)]
        parts += [text(468, 66 + 42 * n, names[kind], "", "start")]
    for y, kind, row in [(104, "a", 188), (188, "b", 62)]:
        parts += [rect(640, y - 16, 100, 32, round=6), dot(658, y, kind)]
        parts += [text(674, y + 4, names[kind], "", "start")]
        parts += [path(f"M552 {row} C596 {row} 596 {y} 638 {y}", f"to-{kind}")]
    parts += [text(596, 272, "bipartite matching", "soft")]
    title = "DETR: predictions are matched with the ground truth one to one"
    caption = "Each object is matched with one query, so duplicates need no suppression."
    return card(324, title, caption, parts)


def vtn() -> str:
    xs = [56 + 66 * n for n in range(7)]
    parts = [rect(18, 16, 576, 186, round=8), rect(18, 216, 576, 34, round=6)]
    parts += [text(34, 40, "temporal encoder: 3 layers", "", "start")]
    parts += [text(306, 237, "frame encoder: a 2D backbone, one feature for each frame")]
    for n, x in enumerate(xs):
        parts += [rect(x - 26, 270, 52, 40, "frame"), dot(x - 15 + 5 * n, 290, "a", 7)]
        parts += [arrow(x, 268, x, 252), arrow(x, 214, x, 198)]
        parts += [path(f"M540 108 L{x} 170", "to-b")]
    parts += [path(f"M{xs[3]} 96 L{x} 170", "to-a") for x in xs[1:6]]
    for n, x in enumerate(xs):
        parts += [rect(x - 12, 170, 24, 24, "frame", 4), text(x, 187, str(n + 1))]
    parts += [rect(xs[3] - 12, 72, 24, 24, "a", 4), rect(528, 84, 24, 24, "b", 4)]
    parts += [text(xs[3], 64, "a frame sees a window")]
    parts += [text(540, 58, "class token"), text(540, 75, "sees all", "soft")]
    parts += [arrow(554, 96, 628, 96), box(630, 76, 112, 40, "MLP head"), arrow(686, 118, 686, 140)]
    parts += [text(686, 158, "one class"), text(686, 175, "for the video", "soft")]
    title = "VTN: a frame encoder, then attention in a sliding window over time"
    caption = "The cost grows linearly with the number of frames, so the video is read in one pass."
    return card(358, title, caption, parts)


def ipt() -> str:
    tasks = [("sr_x2", "c"), ("sr_x4", "none"), ("denoise_30", "none"), ("derain", "none")]
    parts = [text(80, 26, "degraded patch", "soft"), text(686, 26, "restored patch", "soft")]
    parts += [text(180, 26, "heads", "soft"), text(580, 26, "tails", "soft")]
    for n, (name, kind) in enumerate(tasks):
        y = 40 + 50 * n
        line = "to-c" if kind == "c" else "link"
        parts += [box(134, y, 92, 36, name), box(534, y, 92, 36, name)]
        parts += [path(f"M228 {y + 18} L258 125", line), path(f"M502 125 L532 {y + 18}", line)]
        if kind == "c":
            parts += [rect(134, y, 92, 36, line, 6), rect(534, y, 92, 36, line, 6)]
            parts += [rect(62, y, 36, 36, "frame"), dot(80, y + 18, "a", 5)]
            parts += [rect(656, y - 2, 60, 60, "frame"), dot(686, y + 28, "a", 10)]
            parts += [arrow(100, y + 18, 132, y + 18), arrow(628, y + 18, 654, y + 18)]
    parts += [rect(260, 40, 240, 186, "box", 8), text(380, 62, "one transformer for all tasks")]
    parts += [box(276, 80, 90, 90, "encoder", "tokens of", "3×3 pixels"), arrow(368, 125, 392, 125)]
    parts += [box(394, 80, 90, 90, "decoder", "asked by the", "task query")]
    parts += [rect(403 + 20 * n, 200, 12, 12, kind) for n, (_, kind) in enumerate(tasks)]
    parts += [path("M409 198 L409 172", "arrow"), text(392, 211, "task queries", "soft", "end")]
    title = "IPT: heads and tails of several tasks around one transformer"
    caption = "Each task has its own head, tail and query. Only those of the chosen task run."
    return card(276, title, caption, parts)


def drawings() -> dict[str, str]:
    """File name to content."""
    systems = [vistr, trackformer, detr, vtn, ipt]
    return {f"{draw.__name__}.svg": draw() for draw in systems}


if __name__ == "__main__":
    for name, content in drawings().items():
        (IMAGES / name).write_text(content)
