"""Draw the idea of each system as docs/images/<name>.svg: ``python docs/draw_systems.py``."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

IMAGES = Path(__file__).with_name("images")
WIDTH = 760
INK, LINE, PAPER = "#1f2937", "#6b7280", "#ffffff"
# Objects keep their colours from frame to frame.
RED, GREEN, BLUE, GREY = "#f28b82", "#81c995", "#8ab4f8", "#e5e7eb"


class Drawing:
    """Shapes on a white panel, which both light and dark pages show."""

    def __init__(self, title: str, height: int):
        self.title, self.height = title, height
        self.parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, text: str = "", fill: str = GREY
    ) -> None:
        """A box; the lines of its text are separated by line ends."""
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
            f'fill="{fill}" stroke="{LINE}"/>'
        )
        lines = text.split("\n") if text else []
        for number, line in enumerate(lines):
            middle = y + height / 2 + 5 + 17 * (number - (len(lines) - 1) / 2)
            self.text(x + width / 2, middle, line)

    def text(self, x: float, y: float, text: str, size: int = 14, anchor: str = "middle") -> None:
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{INK}">{escape(text)}</text>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float, colour: str = LINE) -> None:
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" '
            'stroke-width="2" marker-end="url(#tip)"/>'
        )

    def circle(self, x: float, y: float, radius: float, fill: str) -> None:
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}" stroke="{LINE}"/>'
        )

    def frame(self, x: float, y: float, places: Iterable[tuple[float, float, str]]) -> None:
        """A picture of 84×56 with objects at places within it."""
        self.box(x, y, 84, 56, fill="#f9fafb")
        for left, top, colour in places:
            self.circle(x + left, y + top, 9, colour)

    def svg(self) -> str:
        tip = (
            '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker>'
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" '
                f'width="{WIDTH}" font-family="Helvetica, Arial, sans-serif">',
                f"<title>{escape(self.title)}</title>",
                f"<defs>{tip}</defs>",
                f'<rect width="{WIDTH}" height="{self.height}" rx="10" fill="{PAPER}"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def vistr() -> Drawing:
    drawing = Drawing("VisTR: all frames of a clip at once", 300)
    for time in range(3):
        y = 30 + 84 * time
        drawing.frame(20, y, [(22 + 14 * time, 18, RED), (60 - 10 * time, 38, BLUE)])
        drawing.text(62, y + 72, f"frame {time + 1}", 12)
        drawing.arrow(108, y + 28, 134, y + 28)
        drawing.arrow(420, y + 28, 446, y + 28)
        for slot, colour in enumerate((RED, BLUE, GREY)):
            drawing.circle(466 + 34 * slot, y + 28, 13, colour)
        drawing.arrow(556, y + 28, 582, y + 28)
        drawing.frame(588, y, [(22 + 14 * time, 18, RED), (60 - 10 * time, 38, BLUE)])
    drawing.box(138, 30, 84, 224, "backbone,\neach frame")
    drawing.arrow(224, 142, 246, 142)
    drawing.box(250, 30, 78, 224, "encoder:\ntokens of\nall frames")
    drawing.arrow(330, 142, 346, 142)
    drawing.box(350, 30, 68, 224, "decoder")
    drawing.text(500, 286, "queries: frames × slots", 12)
    drawing.text(630, 286, "masks", 12)
    drawing.text(716, 130, "same slot =", 11)
    drawing.text(716, 146, "same instance", 11)
    return drawing


def trackformer() -> Drawing:
    drawing = Drawing("TrackFormer: track queries go on from frame to frame", 290)
    seen = ([RED, GREEN], [RED, GREEN], [RED, BLUE])
    for time, colours in enumerate(seen):
        x = 40 + 250 * time
        places = [(24 + 10 * time, 18, colours[0]), (58, 38, colours[1])]
        drawing.frame(x + 18, 20, places)
        drawing.text(x + 60, 92, f"frame {time + 1}", 12)
        drawing.arrow(x + 60, 98, x + 60, 116)
        drawing.box(x, 120, 120, 50, "transformer")
        for number, colour in enumerate((GREY, GREY)):
            drawing.circle(x + 42 + 36 * number, 222, 11, colour)
        drawing.arrow(x + 60, 206, x + 60, 174)
        for number, colour in enumerate(colours):
            drawing.circle(x + 152, 128 + 32 * number, 11, colour)
        if time < 2:
            drawing.arrow(x + 122, 145, x + 138, 145)
            drawing.arrow(x + 168, 145, x + 246, 145)
            drawing.text(x + 206, 134, "track queries", 12)
    drawing.text(380, 254, "object queries find new objects in each frame", 12)
    drawing.text(380, 274, "a track whose score falls ends (green), a new one begins (blue)", 12)
    return drawing


def detr() -> Drawing:
    drawing = Drawing("DETR: a set of predictions, matched one to one", 250)
    drawing.frame(20, 90, [(24, 18, RED), (58, 38, BLUE)])
    for x1, x2 in ((106, 122), (204, 220), (302, 318), (400, 416)):
        drawing.arrow(x1, 118, x2, 118)
    drawing.box(126, 84, 76, 68, "backbone")
    drawing.box(224, 84, 76, 68, "encoder")
    drawing.box(322, 84, 76, 68, "decoder")
    for number, colour in enumerate((GREY, GREY, GREY, GREY)):
        drawing.circle(330 + 20 * number, 190, 8, colour)
    drawing.arrow(360, 178, 360, 156)
    drawing.text(350, 216, "object queries", 12)
    for number, (label, colour) in enumerate(
        (("cat 0.9", BLUE), ("no object", GREY), ("dog 0.8", RED), ("no object", GREY))
    ):
        drawing.box(420, 36 + 44 * number, 96, 34, label, colour)
    drawing.text(468, 236, "a class and a box each", 12)
    drawing.box(640, 60, 90, 34, "dog", RED)
    drawing.box(640, 130, 90, 34, "cat", BLUE)
    drawing.text(685, 222, "ground truth", 12)
    drawing.arrow(518, 53, 636, 144)
    drawing.arrow(518, 141, 636, 80)
    drawing.text(578, 40, "bipartite matching", 12)
    return drawing


def vtn() -> Drawing:
    drawing = Drawing("VTN: features of frames, attention over time", 240)
    for time in range(5):
        x = 24 + 100 * time
        drawing.frame(x, 20, [(16 + 13 * time, 28, RED)])
        drawing.arrow(x + 42, 78, x + 42, 92)
        drawing.box(x + 1, 96, 82, 34, "backbone")
        drawing.arrow(x + 42, 132, x + 42, 148)
    drawing.box(24, 152, 484, 44, "temporal encoder: attention to neighbouring frames")
    drawing.text(266, 222, "the class token attends to all frames", 12)
    drawing.arrow(510, 174, 536, 174)
    drawing.box(540, 152, 100, 44, "class token", BLUE)
    drawing.arrow(642, 174, 660, 174)
    drawing.box(664, 152, 84, 44, "runs right\n0.97", GREEN)
    return drawing


def ipt() -> Drawing:
    drawing = Drawing("IPT: a head and a tail for each task around one body", 270)
    for number, (name, colour) in enumerate((("×2", RED), ("noise 30", GREEN), ("rain", BLUE))):
        y = 26 + 76 * number
        drawing.box(20, y, 96, 50, f"{name}:\ninput", colour)
        drawing.arrow(118, y + 25, 138, y + 25)
        drawing.box(142, y, 84, 50, "head", colour)
        drawing.arrow(228, y + 25, 266, 127)
        drawing.arrow(486, 127, 524, y + 25)
        drawing.box(528, y, 84, 50, "tail", colour)
        drawing.arrow(614, y + 25, 634, y + 25)
        drawing.box(638, y, 102, 50, "restored\nimage", colour)
    drawing.box(270, 82, 214, 90, "one transformer for all tasks:\ntokens of patches")
    drawing.arrow(377, 216, 377, 176)
    drawing.text(377, 234, "a learned query of the task", 12)
    return drawing


SYSTEMS = {"vistr": vistr, "trackformer": trackformer, "detr": detr, "vtn": vtn, "ipt": ipt}


def main() -> None:
    for name, draw in SYSTEMS.items():
        (IMAGES / f"{name}.svg").write_text(draw().svg())


if __name__ == "__main__":
    main()
