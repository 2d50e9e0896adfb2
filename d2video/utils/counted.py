"""Numbers with their nouns, for messages."""


def counted(count: int, noun: str) -> str:
    """The number with its noun, which takes an "s", or "ies" for a "y"."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"
