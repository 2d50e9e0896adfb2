"""Whole numbers in text from elsewhere."""


def whole_number(text: str, digits: int = 18) -> int | None:
    """The number that a text is, of so many digits at most (18: of 64 bits); None if it is another text."""
    is_one = text.isascii() and text.isdigit() and len(text) <= digits
    return int(text) if is_one else None
