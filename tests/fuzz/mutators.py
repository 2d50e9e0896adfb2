"""Sound inputs, bent: structures, lines of text, and bytes. All draws come from the generator given."""

import copy
import json
import math
import random
from collections.abc import Callable
from typing import Any

# Stands for a nesting that Python's own writer cannot make; put in after writing.
_DEEP = "@@deep@@"

STRINGS = [
    *(
        "",
        " ",
        "a",
        "0",
        "-1",
        "1e400",
        "nan",
        "null",
        "\0",
        "a\nb",
        "a\r\nb\t",
        "'\"\\",
        "%s%(x)d",
    ),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "..\\x",
        "C:\\x",
        "~/x",
        "{0.__class__}",
        "\ud800",
        "\U0001f600",
    ),
    *(
        "\u202ex",
        "\u2028",
        "\xa0",
        "e\u0301",
        "１２",
        "²",
        "x" * 300,
        "9" * 5000,
        "http://x",
        "//x",
        _DEEP,
    ),
]
NUMBERS: list[Any] = [
    *(
        0,
        -1,
        1,
        2,
        3,
        7,
        255,
        256,
        -256,
        65535,
        2**16,
        2**31 - 1,
        2**31,
        -(2**31),
        2**32,
        2**53 + 1,
    ),
    *(2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**20, 10**400, 0.5, -0.5, 1e-320, 1e16, 1e38, 1e308),
    *(-1e308, math.nan, math.inf, -math.inf, -0.0, True, False),
]
OTHERS: list[Any] = [
    *(None, [], {}, [[]], [None], [[], []], [0], [1, 2], [1, 2, 3, 4], [0.0] * 6, ["a"], {"a": 1}),
    *({"id": 1}, {"size": [2, 3], "counts": "0"}, {"size": [1, 1], "counts": [1]}, {"counts": []}),
    *(
        [[math.nan] * 6],
        [[1e9] * 6],
        [[2**31 - 1.0, 0, 0, 0, 0, -(2**31) + 1.0]],
        [[0] * 7],
        "abcd",
    ),
]


def extreme(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(rng.choice([STRINGS, NUMBERS, OTHERS])))


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a structure."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        found.append((value, key))
        if isinstance(inner, dict | list):
            _places(inner, found)
    return found


def _nudge(rng: random.Random, value: Any) -> Any:
    """A value of the same type, not far from it."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return rng.choice(
            [
                value + 1,
                value - 1,
                -value,
                2 * value,
                value // 2 if isinstance(value, int) else value / 2,
                1000 * value,
                str(value),
            ]
        )
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice([value[:at], value[at:], value[:at] + rng.choice(STRINGS) + value[at:]])
    if isinstance(value, list):
        at = rng.randrange(len(value) + 1)
        return rng.choice([value[:at], value + value, value[::-1], [value], value * 20, value[:1]])
    return rng.choice([list(value.values()), [value], {**value, "": extreme(rng)}])


def mutate_structure(rng: random.Random, seed: Any) -> Any:
    """A copy of a JSON-like structure with one to four faults."""
    root = [copy.deepcopy(seed)]
    for _ in range(rng.choice([1, 1, 1, 2, 3, 4])):
        places = _places(root, [])
        # Deep places are many; take one of a random depth class now and then.
        container, key = rng.choice(places if rng.random() < 0.7 else places[:12])
        other, other_key = rng.choice(places)
        kind = rng.randrange(7)
        if kind == 0:
            if container is not root:
                del container[key]
        elif kind == 1:
            container[key] = extreme(rng)
        elif kind == 2 or (kind == 6 and isinstance(container, dict)):
            container[key] = _nudge(rng, container[key])
        elif kind == 3:
            container[key] = copy.deepcopy(other[other_key])
        elif kind == 4 and isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        elif kind == 5 and isinstance(container, dict):
            container[rng.choice(STRINGS)] = container.pop(key)
        elif isinstance(container, list):
            rng.shuffle(container)
        if not root:
            root.append(None)
    return root[0]


def to_json(rng: random.Random, value: Any) -> bytes:
    """The text, with NaN and lone surrogates as they are, at times with damage of its own."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.8)
    if _DEEP in text:
        depth = rng.choice([50, 200, rng.randrange(400, 1000), 20_000, 200_000])
        opening, closing = rng.choice([("[", "]"), ('{"a":', "}")])
        text = text.replace(f'"{_DEEP}"', f"{opening * depth}1{closing * depth}", 1)
    data = text.encode("utf-8", "surrogatepass")
    return mutate_bytes(rng, data) if rng.random() < 0.1 else data


FIELDS = [
    *(
        "",
        " ",
        "-1",
        "0",
        "1",
        "2",
        "7",
        "0.5",
        "-0",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "1e308",
        "1e-400",
    ),
    *(
        "2147483648",
        "9223372036854775808",
        "99999999999999999999",
        "9" * 5000,
        "0x10",
        "1_000",
        "１２",
    ),
    *(
        "²",
        "a",
        '"',
        "'",
        "#",
        "%",
        ";",
        "\0",
        "\x1a",
        "\u2028",
        "\ufeff",
        "é",
        "../x",
        "/x",
        "=",
        "[",
        "x" * 300,
    ),
]


def mutate_text(rng: random.Random, seed: str, separators: str = ",") -> bytes:
    """A text with one to four faults in its lines, in the fields of one, or in its encoding."""
    lines = seed.split("\n")
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        at = rng.randrange(len(lines))
        kind = rng.randrange(10)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif kind == 2:
            lines.insert(at, rng.choice(FIELDS))
        elif kind == 3:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        else:
            separator = rng.choice(separators)
            fields = lines[at].split(separator)
            place = rng.randrange(len(fields))
            if kind < 8:
                fields[place] = rng.choice(FIELDS)
            elif kind == 8:
                fields.insert(place, rng.choice(FIELDS))
            else:
                del fields[place]
            lines[at] = separator.join(fields)
        lines = lines or [""]
    text = rng.choice(["\n"] * 12 + ["\r\n", "\r", "\n\n", "\0"]).join(lines)
    encoding = rng.choice(["utf-8"] * 12 + ["utf-8-sig", "utf-16", "latin-1"])
    data = text.encode(encoding, "replace")
    return mutate_bytes(rng, data) if rng.random() < 0.1 else data


_WORDS: list[bytes] = [
    *(b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"),
    *(
        b"\x80\0\0\0",
        b"\0\x01",
        b"\xff\xff",
        b"\0\0\xff\xff",
        b"\0" * 64,
        b"\xff" * 64,
        b"\n",
        b"\0",
    ),
]


def mutate_bytes(rng: random.Random, seed: bytes, header: int = 0) -> bytes:
    """One to six faults; half of them within the first ``header`` bytes, if that is not 0."""
    data = bytearray(seed)
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        size = len(data)
        reach = min(header, size) if header and rng.random() < 0.5 else size
        at = rng.randrange(reach + 1)
        length = rng.choice([1, 2, 4, 16, max(size // 4, 1)])
        kind = rng.randrange(8)
        if kind <= 1 and at < size:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2 and at < size:
            data[at] = rng.randrange(256)
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + length]
        elif kind == 5:
            word = rng.choice(_WORDS)
            data[at : at + len(word)] = word
        elif kind == 6:
            start = rng.randrange(size + 1)
            data[at:at] = data[start : start + length]
        else:
            data[at : at + length] = bytes(length)
    return bytes(data)


def mixed(rng: random.Random, *choices: Callable[[random.Random], bytes]) -> bytes:
    """What one of some mutators makes."""
    return rng.choice(choices)(rng)
