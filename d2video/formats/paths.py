"""Paths that a stranger's file names."""


def portable(name: str) -> str:
    """A relative path of a stranger's file with "/", wherever it was written."""
    return name.replace("\\", "/")


def leaves_folder(name: str) -> bool:
    """Whether a relative path of a stranger's file, on whatever system, may lead out of its folder."""
    parts = name.replace("\\", "/").split("/")
    drive = parts[0][1:2] == ":"
    return parts[0] == "" or drive or parts[0].endswith(":") or ".." in parts or "\0" in name
