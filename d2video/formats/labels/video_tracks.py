"""The tracks of a labelled video: numbers for the tool's ids, their classes and frames."""

from itertools import count


class VideoTracks:
    """The tracks of one video."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of the tool's ids that are texts
        self._classes: dict[int, list[int]] = {}  # by number, the first one first
        self._seen: set[tuple[int, int]] = set()

    def number_of(self, track: int | str) -> int:
        """The number of a track: the tool's id or, if that is a text, a running number."""
        if isinstance(track, int):
            return track
        return self._numbers.setdefault(track, len(self._numbers) + 1)

    def other_class(self, track: int, category: int) -> int | None:
        """The first class of a track that has others than this one; None if there is none."""
        known = self._classes.get(track, [])
        return known[0] if known and category not in known else None

    def add(self, track: int, category: int, frame: int) -> bool:
        """Add an object; False: its track is in this frame already."""
        if (frame, track) in self._seen:
            return False
        self._seen.add((frame, track))
        known = self._classes.setdefault(track, [])
        if category not in known:
            known.append(category)
        return True

    def of_several_classes(self) -> list[int | str]:
        """The tool's ids of tracks that have several classes."""
        names: dict[int, int | str] = {number: name for name, number in self._numbers.items()}
        return [names.get(track, track) for track, known in self._classes.items() if len(known) > 1]

    def split(self) -> dict[tuple[int, int], int]:
        """Free numbers for tracks of several classes, by track and class; the first class keeps its own."""
        free = (number for number in count(1) if number not in self._classes)
        several = ((track, k) for track, known in self._classes.items() for k in known[1:])
        return {each: next(free) for each in several}
