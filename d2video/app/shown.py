"""The part of the page below the controls: progress, the result with its files, or an error, as HTML."""

from html import escape
from pathlib import Path
from urllib.parse import quote

from d2video.app.run import Progress, Result
from d2video.video.image_io import IMAGE_SUFFIXES

# Labels of files by their suffix; all others are "Picture".
_KINDS = {".mp4": "Video", ".json": "JSON", ".txt": "Tracks (MOTChallenge)"}

CSS = """
.d2v-shown > * { margin: 0 0 12px; }
.d2v-shown img, .d2v-shown video { display: block; width: 100%; max-height: 75vh; object-fit: contain;
    border-radius: 6px; background: #000; }
.d2v-shown .bar { height: 8px; border-radius: 4px; overflow: hidden;
    background: var(--border-color-primary); }
.d2v-shown .bar div { height: 100%; background: var(--color-accent); }
.d2v-shown .error { padding: 12px 16px; border-radius: 6px; overflow-wrap: anywhere;
    border: 1px solid var(--error-border-color); background: var(--error-background-fill);
    color: var(--error-text-color); }
.d2v-shown .hint { color: var(--body-text-color); overflow-wrap: anywhere; }
.d2v-shown .files { display: flex; flex-wrap: wrap; gap: 10px; }
.d2v-shown .files a { padding: 8px 14px; border-radius: 6px; text-decoration: none;
    border: 1px solid var(--border-color-primary); background: var(--button-secondary-background-fill);
    color: var(--button-secondary-text-color); }
"""


def show_progress(progress: Progress) -> str:
    """Return HTML with the progress and the latest picture."""
    total = None if progress.total is None else max(progress.total, progress.done, 1)
    width, of = (0, "") if total is None else (100 * progress.done // total, f" of {total}")
    says = f"Frame {progress.done}{of}" if progress.done else "Reading the file …"
    image = f'<img alt="latest frame" src="{progress.picture}">' if progress.picture else ""
    bar = f'<div class="bar" role="progressbar"><div style="width: {width}%"></div></div>'
    return _block(f'{bar}<p class="hint">{says}</p>{image}')


def show_result(result: Result, address: str) -> str:
    """Return HTML with the annotated video or picture, and links to the files.

    Args:
        result: the result.
        address: address of the files' folder, relative to the page.
    """
    urls = [f"{address}/{quote(path.name)}" for path in result.files]
    url = escape(urls[0])
    if result.files[0].suffix in IMAGE_SUFFIXES:
        shown = f'<a href="{url}" target="_blank"><img alt="annotated picture" src="{url}"></a>'
    else:
        shown = f'<video controls autoplay muted loop playsinline src="{url}"></video>'
    links = "".join(
        f'<a download href="{escape(url)}">↓ {_kind(path)}</a>'
        for path, url in zip(result.files, urls, strict=True)
    )
    says = f"{result.found or 'Done'}, in {result.seconds:.1f} s"
    return _block(f'{shown}<p class="hint">{escape(says)}</p><div class="files">{links}</div>')


def show_error(message: str) -> str:
    """Return HTML with an error message instead of a result."""
    return _block(f'<p class="error" role="alert">{escape(message)}</p>')


def show_hint(message: str) -> str:
    """Return HTML with a hint on what to do next."""
    return _block(f'<p class="hint">{escape(message)}</p>')


def _block(content: str) -> str:
    return f'<div class="d2v-shown">{content}</div>'


def _kind(path: Path) -> str:
    return _KINDS.get(path.suffix, "Picture")
