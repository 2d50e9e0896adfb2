"""Numbers with their nouns, for messages."""


def counted(count: int, noun: str) -> str:
    """The number with its noun, which takes an "s", "es" after an "s", or "ies" for a "y"."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith("y"):
        return f"{count} {noun[:-1]}ies"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
