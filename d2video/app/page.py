"""The page: input from a file or the webcam, the options, and the results."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from d2video.app.limits import Limits
from d2video.app.run import Progress, annotate_upload
from d2video.app.shown import CSS, show_error, show_hint, show_progress, show_result
from d2video.app.users import Users
from d2video.inference import Predictor
from d2video.utils.errors import UserError
from d2video.visualization.options import DrawingOptions
from d2video.visualization.primitives import label_of_class

_LONGEST_QUEUE = 100  # runs that wait for a model; further ones are rejected
_NOTHING = (
    "Give a video or a picture, and press Annotate. Your files are deleted when you close the page."
)

# Gradio's theme, with fonts that every machine has.
THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
STYLE = f"{CSS}\nfooter {{ display: none !important; }}"


def build_page(models: Mapping[str, Predictor], users: Users, limits: Limits) -> gr.Blocks:
    """Build the page for models by their names. Each has a queue and processes one file at a time."""

    def enter(request: gr.Request) -> None:
        users.enter(*_user_of(request))

    def leave(request: gr.Request) -> None:
        users.leave(*_user_of(request))

    names = [*models]
    first = models[names[0]]
    with gr.Blocks(title="d2video", analytics_enabled=False) as page:
        gr.Markdown("# d2video")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                with gr.Tabs():
                    with gr.Tab("File"):
                        file = gr.File(label="Video or picture", elem_id="file")
                    with gr.Tab("Webcam"):
                        webcam = gr.Video(
                            label="Record a video",
                            sources=["webcam"],
                            include_audio=True,  # else ffmpeg is needed to remove the sound
                            webcam_options=gr.WebcamOptions(mirror=False),
                            elem_id="webcam",
                        )
                model = gr.Dropdown(
                    names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model"
                )
                score, classes, side = _choices_of(first)
                choices = [
                    gr.Slider(
                        0, 1, 0.5, step=0.05, label="Score threshold", elem_id="score", **score
                    ),
                    gr.Dropdown(
                        label="Classes (none: all)",
                        multiselect=True,
                        allow_custom_value=True,  # they are checked where the model runs
                        elem_id="classes",
                        **classes,
                    ),
                    gr.Checkbox(
                        True, label="Show the input beside the answer", elem_id="side", **side
                    ),
                ]
                with gr.Row():
                    buttons = [
                        gr.Button(
                            "Annotate",
                            variant="primary",
                            visible=name == names[0],
                            elem_classes="annotate",
                            min_width=120,
                        )
                        for name in names
                    ]
                    stop = gr.Button("Stop", elem_id="stop", min_width=80)
            with gr.Column(scale=2, min_width=320):
                shown = gr.HTML(show_hint(_NOTHING), elem_id="shown")
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        model.change(
            partial(_choose, models),
            model,
            [*choices, *buttons],
            concurrency_limit=None,
            **private,
        )
        runs: list[dict[str, Any]] = []
        for name, button in zip(names, buttons, strict=True):
            waits = button.click(
                lambda: show_hint("Waiting for the model …"),
                None,
                shown,
                concurrency_limit=None,
                **private,
            )
            run = waits.then(
                _runner(models[name], users, limits),
                [file, webcam, *choices],
                shown,
                concurrency_id=name,
                concurrency_limit=1,
                **private,
            )
            runs.append(run)
        stopped = stop.click(None, cancels=runs, **private)
        stopped.then(lambda: show_hint("Stopped."), None, shown, concurrency_limit=None, **private)
        # The last input given is used. The browser clears the other one by itself: Gradio's page loses the
        # answers to a click that comes while it closes the stream of an earlier event.
        file.upload(None, None, webcam, js="() => null", **private)
        webcam.stop_recording(None, None, file, js="() => null", **private)
        page.load(enter, concurrency_limit=None, **private)
        page.unload(leave)
    page.queue(max_size=_LONGEST_QUEUE)
    return page


def _choices_of(predictor: Predictor) -> list[dict[str, Any]]:
    """Return the settings of the score threshold, the classes and the side-by-side box for a model."""
    offers, names = predictor.task.offers, predictor.class_names
    found = "classes" in offers
    labels = [label_of_class(index, names) for index in range(len(names or ()))]
    return [
        {"visible": found},
        {"visible": found and bool(labels), "choices": labels, "value": []},
        {"visible": "side_by_side" in offers},
    ]


def _choose(models: Mapping[str, Predictor], name: str) -> list[dict[str, Any]]:
    """Return updates of the options and the buttons; only the model's own button is visible."""
    buttons = [{"visible": each == name} for each in models]
    return [gr.update(**each) for each in (*_choices_of(models[name]), *buttons)]


def _runner(predictor: Predictor, users: Users, limits: Limits) -> Callable[..., Iterator[str]]:
    """Return the function behind a model's button. (Gradio passes no request to a ``partial``.)"""

    def run(
        file: str | None,
        webcam: str | None,
        score: float,
        classes: list[str],
        side: bool,
        request: gr.Request,
    ) -> Iterator[str]:
        """Yield the part of the page below the controls, frame by frame."""
        user, session = _user_of(request)
        upload = file or webcam
        if upload is None:
            yield show_error("Give a video or a picture first.")
            return
        if not users.owns_upload(user, upload):
            yield show_error("The file is not here any more: give it again.")
            return
        folder = users.new_folder(user, session)
        is_done = False
        try:
            options = DrawingOptions(
                score_threshold=score,
                classes=classes or None,
                side_by_side=side and "side_by_side" in predictor.task.offers,
            )
            steps = annotate_upload(predictor, Path(upload), folder, options, limits)
            with closing(steps):
                for step in steps:
                    if isinstance(step, Progress):
                        yield show_progress(step)
                    else:
                        is_done = True
                        yield show_result(step, f"results/{folder.name}")
        except UserError as error:
            yield show_error(str(error))
        finally:
            if not is_done:
                users.remove_folder(user, session)

    return run


def _user_of(request: gr.Request) -> tuple[str, str]:
    """Return the ids of the user (see :class:`d2video.app.access.Access`) and of the page."""
    assert request.request is not None, "called by the queue"
    return request.request.scope["user"], str(request.session_hash)
