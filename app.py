"""Photo Restorer in the browser: `python app.py`, then http://127.0.0.1:7860. One function a button, one builder a tab."""

import os
import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported, as is the folder that web.server sets

from web import server  # isort: skip

import gradio as gr
import pandas
from gradio.events import Dependency
from starlette.middleware import Middleware

from web import about, choices, closer, gpu, later, slider, theme
from web.choices import Base, Batch, Canvas, Comparison, NoiseSettings, Result
from web.examples import EXAMPLES, thumbnails
from web.jobs import QUEUE_SIZE, in_words, run_alone, run_job, stop_jobs, visitors

TITLE = "Photo Restorer"
PROGRESS = gr.Progress()
QUICK: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # an event of the page's own
LIGHT: dict[str, Any] = QUICK | {"queue": False}  # which need not keep the order of others
HINTS_SCHEMA: dict[str, Any] = {  # of gr.JSON itself gradio tells nothing that a client could check
    "type": "array",
    "items": {"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
    "description": '[x, y, "#rrggbb"] for each colour that is known',
}

OPEN_TAB = "() => { document.getElementById(`tab-${window.firstTab}-button`)?.click(); }"  # theme.HEAD keeps the name
NAME_TAB = """() => {
    const address = new URL(location);
    address.searchParams.set("tab", "NAME");
    history.replaceState(null, "", address);
}"""
SHOW_RESULT = """() => {
    const result = [...document.querySelectorAll(".result")].find((box) => box.offsetParent);
    const top = result.getBoundingClientRect().top;
    const calm = matchMedia("(prefers-reduced-motion)").matches;
    if (top < 0 || top > innerHeight / 2) result.scrollIntoView({behavior: calm ? "instant" : "smooth"});
}"""  # on a phone the result is below the button, out of sight, and gradio's scroll_to_output works in its own frames only
SHOW_TOP = "() => scrollTo({top: 0})"
KEEP_CLICKS = """() => document.addEventListener("click", (event) => {
    const canvas = event.target.closest("#canvas button")?.querySelector("img");
    if (!canvas || canvas.naturalWidth) return;
    event.stopImmediatePropagation();
    const before = canvas.getBoundingClientRect();
    canvas.addEventListener("load", () => {
        const {left, top} = canvas.getBoundingClientRect();
        const place = {clientX: event.clientX - before.left + left, clientY: event.clientY - before.top + top};
        canvas.dispatchEvent(new MouseEvent("click", {bubbles: true, ...place}));
    }, {once: true});
}, true)"""  # gradio drops a click on a picture that is loading, as the brush's canvas is after every dot
OPEN = "() => ({__type__: 'update', interactive: true})"  # a button, without asking the server
CLOSE = OPEN.replace("true", "false")
STRIP_TEMPLATE = """<p>No photo at hand? Try one of these.</p><div>{{#each value}}
<button type="button" data-index="{{@index}}" aria-label="Example: {{this.title}}" title="{{this.title}}">
<img src="{{this.src}}" alt="" width="80" height="80"></button>{{/each}}</div>"""
STRIP_CLICK = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    window.chosenExample = Number(button.dataset.index);
    trigger("click");
});"""
SCORES_TEMPLATE = """<dl>{{#each value}}<div class="score {{this.role}}"><dt>{{this.name}}</dt>
<dd>{{this.value}} <small>{{this.unit}}</small></dd></div>{{/each}}</dl>"""

HEADER = """<header class="masthead">
<svg viewBox="0 0 40 40" aria-hidden="true"><rect width="40" height="40" rx="9" fill="#0f766e"/>
<path d="M7 29l8-10 6 7 4-5 8 8z" fill="#fff"/><circle cx="27" cy="13" r="3.6" fill="#fbbf24"/></svg>
<div><h1>Photo Restorer</h1><p>Takes the noise out of photographs, and gives grey ones colour.</p></div>
</header>"""


# One function a button. Each is an endpoint of the API as well, and its docstring is what the API page says.


async def restore(request: gr.Request, photo: str, strength: float, vividness: float, progress: gr.Progress = PROGRESS) -> Result:
    """Remove the noise from a photo and, if it is grey, give it colour."""
    return await run_job(later.job("work.restore_photo", photo, strength, vividness), request, progress)


async def denoise(
    request: gr.Request,
    photo: str,
    model: str,
    strength: float,
    self_ensemble: bool,
    clean_original: str | None = None,
    progress: gr.Progress = PROGRESS,
) -> Result:
    """Remove the noise from a photo; with the clean original, also measure by how much."""
    return await run_job(
        later.job("work.denoise_photo", photo, clean_original, model, strength, self_ensemble), request, progress
    )


async def colorize(
    request: gr.Request,
    photo: str,
    model: str,
    vividness: float,
    hints: list[list[Any]] | None = None,
    progress: gr.Progress = PROGRESS,
) -> Result:
    """Give a grey photo colour. Hints are [x, y, "#rrggbb"]; a photo in colour is made grey first, and measured against."""
    return await run_job(later.job("work.colorize_photo", photo, model, vividness, hints), request, progress)


async def add_noise(
    request: gr.Request,
    photo: str,
    kind: str,
    sigma: float,
    percent: float,
    photons: float,
    quality: float,
    radius: float,
    period: float,
    colors: float,
    seed: float | None,
    progress: gr.Progress = PROGRESS,
) -> Result:
    """Spoil a clean photo on purpose, always in the same way for the same seed; each kind reads its own settings."""
    settings = NoiseSettings(sigma, percent, photons, int(quality), radius, period, int(colors))
    return await run_job(later.job("work.add_noise", photo, kind, settings, int(seed or 0)), request, progress)


async def compare_methods(
    request: gr.Request,
    examples: list[str],
    sigma: float,
    seed: float | None,
    photos: list[str] | None = None,
    progress: gr.Progress = PROGRESS,
) -> Comparison:
    """Add noise to photos and take it off in several ways; take their colours and bring them back. All with PSNR."""
    paths = chosen_paths(examples, photos)
    return await run_job(later.job("compare.compare", paths, sigma, int(seed or 0)), request, progress)


async def run_batch(request: gr.Request, photos: list[str], task: str, suffix: str, progress: gr.Progress = PROGRESS) -> Batch:
    """Restore, denoise or colorize many photos, or a ZIP of them, into one ZIP; files that fail are named."""
    return await run_job(later.job("batch.run_batch", photos or [], str(task).lower(), suffix), request, progress)


async def plot_curve(
    request: gr.Request,
    examples: list[str],
    seed: float | None,
    photos: list[str] | None = None,
    progress: gr.Progress = PROGRESS,
) -> Any:
    """PSNR against the noise level, for the first of the photos."""
    paths = chosen_paths(examples, photos)
    points = await run_job(later.job("compare.noise_curve", paths, int(seed or 0)), request, progress)
    return pandas.DataFrame(points, columns=list(choices.CURVE_COLUMNS))


def chosen_paths(examples: list[str], photos: list[str] | None) -> list[str]:
    """The visitor's own photos first, then the examples."""
    return (photos or []) + [str(example.path) for example in EXAMPLES if example.title in examples]


# What happens without a button, or beside it


def carry_over(pair: list[str] | None) -> tuple[str, str, bool, gr.Tabs]:
    """Hand the noisy photo and its clean original to the Denoise tab, and open it."""
    if not pair:
        raise gr.Error("Add noise to a photo first, then denoise it.", print_exception=False)
    clean, noisy = pair
    return noisy, clean, True, gr.Tabs(selected="denoise")


def lay_out(photo: str | None, is_open: bool, laid_out: str | None, marks: list[Any]) -> tuple[Any, ...]:
    """Say which photo the brush is to show, none while it is shut, and begin anew where that is another."""
    wanted = photo if is_open else None
    return (*(gr.skip(),) * 4, marks) if photo and wanted == laid_out else (wanted, None, None, [], [])


async def open_canvas(request: gr.Request, photo: str | None, progress: gr.Progress = PROGRESS) -> Canvas:
    """Make the brush's copy of the photo."""
    return await run_job(later.job("brush.open_canvas", photo), request, progress) if photo else Canvas(None, None)


def place_color(base: Base | None, marks: list[Any], color: str, click: gr.SelectData) -> tuple[str | None, list[Any], list[Any]]:
    """Put a colour where the visitor has clicked."""
    if base is None:  # the server keeps it for the latest visitors only
        raise gr.Error("Please upload the photo again: it is no longer here.", print_exception=False)
    match click.index:
        case [int(x), int(y)]:  # a browser may send anything, and text times the width of a photo is a lot of text
            try:
                marked = later.brush.add_mark(marks, base, x, y, color)
            except ValueError as error:
                raise in_words(error) from None
            return redraw(base, marked)
    raise gr.Error("A colour goes to a pixel of the photo: click it.", print_exception=False)


def redraw(base: Base | None, marks: list[Any]) -> tuple[str | None, list[Any], list[Any]]:
    """The canvas with these colours on it, and they themselves, for the page to keep and for Colorize."""
    try:
        return (later.brush.draw_marks(base, marks), marks, marks) if base else (None, [], [])
    except ValueError as error:
        raise in_words(error) from None


def show_settings(kind: str) -> list[gr.Slider]:
    """Show the sliders that this kind of noise reads, and no others."""
    return [gr.Slider(visible=name in choices.NOISES[kind]) for name in choices.SETTINGS]


# Parts that several tabs share


class Output(NamedTuple):
    """The right half of a tab: the slider, the downloads and the numbers."""

    pair: gr.ImageSlider
    png: gr.DownloadButton
    jpeg: gr.DownloadButton
    scores: gr.HTML


def paths_of(payload: Any) -> Any:
    """The files that a component holds, as they came: a path, a list of them, or None for an empty one, or half of a slider."""
    if payload is None:
        return None
    files = getattr(payload, "root", payload)
    if isinstance(files, list | tuple):
        return [file.path for file in files] if all(files) else None
    return files.path


# Only our own door decodes and refuses. On the classes, since gradio makes new instances of components that it updates.
for kind in (gr.Image, gr.ImageSlider, gr.File):
    kind.preprocess = lambda _, payload: paths_of(payload)  # type: ignore[method-assign]


def photo_input(label: str, **options: Any) -> gr.Image:
    """An upload box."""
    return gr.Image(
        label=label,
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        buttons=["fullscreen"],
        elem_classes="photo",
        **options,
    )


def build_output() -> Output:
    """Build the right half of a tab."""
    pair = gr.ImageSlider(
        label="Before and after",
        show_label=False,  # it would hide a corner, and a panorama altogether
        format="png",
        type="filepath",
        image_mode=None,
        interactive=False,
        max_height=560,
        buttons=["fullscreen"],
        elem_classes="result",
    )
    with gr.Row():
        png = gr.DownloadButton("Download PNG", interactive=False, size="md", min_width=120)
        jpeg = gr.DownloadButton("Download JPEG", interactive=False, size="md", min_width=120)
    gr.Markdown(
        "Before is on the left, after on the right: drag the handle. Pinch, or scroll with Ctrl, to look closer.",
        elem_classes="hint",
    )
    crop = gr.HTML(html_template=closer.TEMPLATE, js_on_load=closer.ON_LOAD, elem_classes="closer-look", label="Closer look")
    pair.change(None, pair, crop, js=closer.URLS, queue=False)
    scores = gr.HTML(html_template=SCORES_TEMPLATE, elem_classes="scores", label="Measurements")
    return Output(pair, png, jpeg, scores)


def example_strip(mode: str, choose: Callable[[Path], Any], outputs: list[Any]) -> None:
    """A strip of example photos in Pillow's `mode`; a click loads one, as `choose` prepares it."""
    pictures = [{"title": example.title, "src": source} for example, source in zip(EXAMPLES, thumbnails(mode), strict=True)]
    strip = gr.HTML(pictures, html_template=STRIP_TEMPLATE, js_on_load=STRIP_CLICK, elem_classes="examples", label="Examples")
    index = gr.Number(visible=False, precision=0)

    def load(index: int) -> Any:
        return choose(EXAMPLES[index].path)

    # One at a time, each as it is by then, so that the last one clicked stays: results that come close together overtake.
    last = QUICK | {"concurrency_id": "examples", "trigger_mode": "always_last"}
    strip.click(load, index, outputs, js="() => [window.chosenExample]", **last)


def wire(
    button: gr.Button,
    cancel: gr.Button,
    function: Callable[..., Any],
    name: str,
    inputs: list[Any],
    outputs: Output,
    *onward: gr.Button,
) -> None:
    """Let a button run its job, one at a time over all tabs, and open the downloads and what comes next when it has succeeded."""
    announce(button, cancel, inputs)
    event = button.click(
        function,
        inputs,
        list(outputs),
        api_name=name,
        concurrency_id="work",
        concurrency_limit=1,
        show_progress_on=[outputs.pair],
    )
    open_when_done(event, [outputs.png, outputs.jpeg, *onward])
    let_cancel(button, cancel, event, [*outputs, *onward])


def announce(button: gr.Button, cancel: gr.Button, inputs: list[Any]) -> None:
    """Before the work of a button begins: bring its result into sight, and open Cancel."""
    button.click(None, js=SHOW_RESULT, queue=False)
    open_cancel(button, cancel, inputs)


def open_cancel(button: gr.Button, cancel: gr.Button, inputs: list[Any]) -> None:
    """Let Cancel be pressed before the work of a button begins; what a click calls goes in turn.

    Like the work it waits for its inputs, which may be on their way: before that there is nothing to cancel.
    """
    button.click(None, inputs, cancel, js=OPEN, queue=False)


def let_cancel(button: gr.Button, cancel: gr.Button, event: Dependency, outputs: list[Any]) -> None:
    """Let Cancel stop the work of a button, and close it when that has ended; no old result stands for a new one.

    The button is shut until all is given up, which would take new work with it.
    """
    for ended in (event.then, event.failure):  # an error calls the second alone, all else the first
        ended(None, None, cancel, js=CLOSE, queue=False)
    event.failure(lambda: {part: nothing(part) for part in outputs}, None, outputs, **LIGHT)
    cancel.click(None, cancels=[event], queue=False)

    def give_up() -> dict[Any, Any]:
        gr.Info("Cancelled.")
        return {part: nothing(part) for part in outputs}

    cancel.click(None, None, button, js=CLOSE, queue=False)
    given_up = cancel.click(give_up, None, outputs, api_visibility="private", show_progress="hidden")
    for ended in (given_up.then, given_up.failure):
        ended(None, None, button, js=OPEN, queue=False)


def nothing(part: Any) -> Any:
    """How a part of a result looks where there is none."""
    if isinstance(part, gr.Button):
        return gr.update(interactive=False)
    return gr.update(value=None, interactive=False) if isinstance(part, gr.DownloadButton) else gr.update(value=None)


def open_when_done(event: Dependency, buttons: list[gr.Button | gr.DownloadButton]) -> None:
    """Let these be pressed once there is something to fetch or to go on with."""
    event.success(
        lambda: {button: gr.update(interactive=True) for button in buttons},
        outputs=buttons,
        **LIGHT,
    )


def build_buttons(label: str) -> tuple[gr.Button, gr.Button]:
    """The one button that matters, and the way back."""
    with gr.Row(elem_classes="actions"):
        button = gr.Button(label, variant="primary", scale=3)
        cancel = gr.Button("Cancel", variant="secondary", scale=1, min_width=96, elem_classes="quiet", interactive=False)
    return button, cancel


def strength_slider() -> gr.Slider:
    return gr.Slider(
        0,
        1.5,
        1,
        step=0.05,
        label="Strength",
        info="1 removes the noise that was found; less leaves some grain, more smooths further.",
    )


def vividness_slider() -> gr.Slider:
    return gr.Slider(0, 2, 1, step=0.1, label="Vividness", info="0 is the safest guess, 2 the boldest.")


# One builder a tab


def build_restore() -> None:
    gr.Markdown(
        "Drop an old photo. It comes back clean and, if it was grey, in colour, at full size. Its date and camera data stay; the "
        "location is taken out.",
        elem_classes="lead",
    )
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=300):
            photo = photo_input("Your photo", height=320)
            button, cancel = build_buttons("Restore")
            example_strip("L", lambda path: later.work.aged_example(path), [photo])
            with gr.Accordion("Settings", open=False):
                strength, vividness = strength_slider(), vividness_slider()
        with gr.Column(scale=7, min_width=300):
            output = build_output()
    wire(button, cancel, restore, "restore", [photo, strength, vividness], output)


def build_denoise() -> tuple[gr.Image, gr.Image, gr.State]:
    """Build the tab; gives the two boxes that Add noise fills, and whether the second was filled by the page."""
    lent = gr.State(False)  # an original that came with an example goes with it; a visitor's own stays
    gr.Markdown("Takes out noise of any kind and strength; you need not say how much there is.", elem_classes="lead")
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=300):
            photo = photo_input("Noisy photo", height=320, elem_id="denoise-photo")
            button, cancel = build_buttons("Denoise")
            examples = gr.Column()
            with gr.Accordion("Measure it against the clean original", open=True):
                gr.Markdown("Optional: with the same photo without noise, PSNR and SSIM tell how close the result comes.")
                original = photo_input("Clean original", height=180, elem_id="denoise-original")
            with examples:
                example_strip("RGB", lambda path: (later.work.noisy_example(path), str(path), True), [photo, original, lent])
            with gr.Accordion("Settings", open=False):
                model = gr.Dropdown(choices.DENOISERS, value=choices.DENOISER, label="Network")
                strength = strength_slider()
                ensemble = gr.Checkbox(
                    label="Self-ensemble", info="Averages eight turned and mirrored runs: slightly better, eight times slower."
                )
        with gr.Column(scale=7, min_width=300):
            output = build_output()
    wire(button, cancel, denoise, "denoise", [photo, model, strength, ensemble, original], output)
    photo.upload(lambda lent: (None if lent else gr.skip(), False), lent, [original, lent], **LIGHT)
    original.upload(lambda: False, None, lent, **LIGHT)
    return photo, original, lent


def build_colorize() -> None:
    gr.Markdown(
        "Colours a grey photo. Give it one in colour, and it is made grey first, so that you can compare with the truth.",
        elem_classes="lead",
    )
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=300):
            photo = photo_input("Your photo", height=320)
            button, cancel = build_buttons("Colorize")
            example_strip("L", str, [photo])
            with gr.Accordion("Settings", open=False):
                model = gr.Dropdown(choices.COLORIZERS, value=choices.COLORIZER, label="Network")
                vividness = vividness_slider()
            hints = build_brush(photo)
        with gr.Column(scale=7, min_width=300):
            output = build_output()
    wire(button, cancel, colorize, "colorize", [photo, model, vividness, hints], output)


def build_brush(photo: gr.Image) -> gr.JSON:
    """A canvas to put known colours on; gives the hints that it collects."""
    hints = gr.JSON([], visible=False, label="Hints")  # the marks, as Colorize takes them
    hints.api_info = lambda: HINTS_SCHEMA  # type: ignore[method-assign]  # of this one alone
    marks, base, is_open = gr.State([]), gr.State(None), gr.State(False)
    wanted = gr.State(None)  # the photo of the canvas
    with gr.Accordion("Colour brush", open=False) as brush:
        gr.Markdown("Know a colour? Choose it, then click the photo where it belongs. Then press Colorize again.")
        color = gr.ColorPicker("#b5452c", label="Colour")
        canvas = gr.Image(
            label="Click to place the colour",
            show_label=False,  # colours are placed below it as well
            type="filepath",
            image_mode=None,
            interactive=False,
            buttons=[],
            elem_id="canvas",
        )
        with gr.Row():
            undo = gr.Button("Undo", size="md", min_width=100)
            clear = gr.Button("Clear", size="md", min_width=100)
    quick = QUICK | {"concurrency_id": "brush"}
    brush.collapse(lambda: False, None, is_open, **LIGHT)
    unfolded = brush.expand(lambda: True, None, is_open, **LIGHT)
    photo.change(None, None, hints, js="() => [[]]", queue=False)  # at once: Colorize may be pressed before the rest comes
    everything = [wanted, canvas, base, marks, hints]
    for event in (photo.change, unfolded.then):  # through the queue, since a change of `wanted` is told by no other way
        laid_out = event(lay_out, [photo, is_open, wanted, marks], everything, **quick)
        laid_out.failure(lambda: (None, None, None, [], []), None, everything, **LIGHT)  # the queue may be full
    opened = wanted.change(
        open_canvas,
        wanted,
        [canvas, base],
        api_visibility="private",
        concurrency_id="work",
        show_progress_on=[canvas],
        trigger_mode="always_last",  # the photo may change while this waits for its turn
    )
    opened.failure(lambda: None, None, wanted, **LIGHT)  # so that the next opening tries again
    in_turn = quick | {"trigger_mode": "multiple"}  # every click counts, and finds the marks of the one before
    drawn = [canvas, marks, hints]
    canvas.select(place_color, [base, marks, color], drawn, **in_turn)
    undo.click(lambda base, marks: redraw(base, marks[:-1]), [base, marks], drawn, **in_turn)
    clear.click(lambda base: redraw(base, []), base, drawn, **in_turn)
    return hints


def build_noise(tabs: gr.Tabs, denoise_boxes: tuple[gr.Image, gr.Image, gr.State]) -> None:
    gr.Markdown("Spoils a clean photo in a known way, to see how well Denoise undoes it.", elem_classes="lead")
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=300):
            photo = photo_input("Clean photo", height=320)
            kind = gr.Dropdown(list(choices.NOISES), value="Gaussian", label="Kind of noise")
            shown = choices.NOISES["Gaussian"]
            sliders = [
                gr.Slider(least, most, usual, step=step, label=label, visible=name in shown)
                for name, (label, (least, most, usual, step)) in choices.SETTINGS.items()
            ]
            seed = gr.Number(0, label="Seed", info="The same seed gives the same noise.", precision=0, minimum=0, maximum=2**31)
            button, cancel = build_buttons("Add noise")
            example_strip("RGB", str, [photo])
        with gr.Column(scale=7, min_width=300):
            output = build_output()
            onward = gr.Button("Denoise this", variant="primary", interactive=False)
    wire(button, cancel, add_noise, "add_noise", [photo, kind, *sliders, seed], output, onward)
    kind.change(show_settings, kind, sliders, **LIGHT)
    onward.click(carry_over, output.pair, [*denoise_boxes, tabs], api_visibility="private").success(None, js=SHOW_TOP)


def build_gallery() -> None:
    gr.Markdown(
        "The same photos through several methods, each beside the original. Photos over 512 pixels are shrunk first.",
        elem_classes="lead",
    )
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=280):
            titles = [example.title for example in EXAMPLES]
            examples = gr.CheckboxGroup(titles, value=titles[:1], label="Examples")
            photos = gr.File(
                label=f"Your own photos, {choices.MAX_PHOTOS} in all at most",
                file_count="multiple",
                file_types=list(choices.UPLOADS),
                height=140,
            )
        with gr.Column(scale=7, min_width=280):
            sigma = gr.Slider(5, 75, 25, step=5, label="Noise level (sigma, of 255)")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31)
            button, cancel = build_buttons("Compare")
    tiles = gr.Gallery(
        label="Pictures",
        show_label=False,
        format="png",
        columns=4,
        height="auto",
        object_fit="contain",
        interactive=False,
        buttons=["download", "download_all", "fullscreen"],  # without Share, which sends the pictures to the Hub
        elem_classes=["tiles", "result"],
    )
    table = gr.Dataframe(
        headers=list(choices.COMPARED_COLUMNS),
        datatype=["str", "str", "number", "number", "number"],
        label="Numbers",
        max_chars=24,
        interactive=False,
    )
    download = gr.DownloadButton("Download CSV", interactive=False, size="md")
    asked = [examples, sigma, seed, photos]
    announce(button, cancel, asked)
    event = button.click(
        compare_methods,
        asked,
        [tiles, table, download],
        api_name="compare",
        concurrency_id="work",
        concurrency_limit=1,
        show_progress_on=[tiles],
    )
    open_when_done(event, [download])
    noise, method, psnr = choices.CURVE_COLUMNS
    let_cancel(button, cancel, event, [tiles, table, download])
    with gr.Accordion("PSNR against the noise level", open=False):
        curve_button, curve_cancel = build_buttons("Plot the first photo")
        curve = gr.LinePlot(x=noise, y=psnr, color=method, label="PSNR against the noise level", show_label=False, height=320)
    asked = [examples, seed, photos]
    open_cancel(curve_button, curve_cancel, asked)
    plot = curve_button.click(
        plot_curve,
        asked,
        curve,
        api_name="noise_curve",
        concurrency_id="work",
        concurrency_limit=1,
    )
    let_cancel(curve_button, curve_cancel, plot, [curve])


def build_batch() -> None:
    gr.Markdown(
        f"Up to {choices.MAX_FILES} photos, or a ZIP of them, {server.MAX_UPLOAD_BYTES >> 20} MB in all, come back as one ZIP. "
        "Files that fail are named. Keep this page open: leaving, a lost connection or Cancel gives up what is done.",
        elem_classes="lead",
    )
    with gr.Row(elem_classes="workspace"):
        with gr.Column(scale=5, min_width=300):
            photos = gr.File(label="Photos, or a ZIP", file_count="multiple", file_types=[*choices.UPLOADS, ".zip"], height=220)
            task = gr.Radio(["Restore", "Denoise", "Colorize"], value="Restore", label="What to do")
            suffix = gr.Radio([("PNG, without loss", ".png"), ("JPEG, smaller", ".jpg")], value=".png", label="Save as")
            button, cancel = build_buttons("Start")
        with gr.Column(scale=7, min_width=300):
            archive = gr.File(label="Results", interactive=False, elem_classes="result")
            table = gr.Dataframe(
                headers=list(choices.BATCH_COLUMNS),
                datatype=["str", "str", "number"],
                label="File by file",
                interactive=False,
                column_widths=["34%", "38%", "28%"],
                wrap=True,
            )
    asked = [photos, task, suffix]
    announce(button, cancel, asked)
    event = button.click(
        run_batch,
        asked,
        [archive, table],
        api_name="batch",
        concurrency_id="work",
        concurrency_limit=1,
        show_progress_on=[table],
    )
    let_cancel(button, cancel, event, [archive, table])


def build_about() -> None:
    gr.HTML(about.HOW_IT_WORKS)
    gr.Markdown(about.LIMITS)
    noise, method, psnr = choices.CURVE_COLUMNS
    gr.Markdown("### PSNR against the noise level, on the 68 photographs of CBSD68")
    gr.LinePlot(
        pandas.DataFrame(about.curve_points(), columns=[noise, method, psnr]),
        x=noise,
        y=psnr,
        color=method,
        label="PSNR on CBSD68",
        show_label=False,
        height=320,
    )
    gr.Markdown(about.results_markdown(), elem_classes="measured")
    gr.Markdown(about.credits_markdown())


def tab(title: str, name: str) -> gr.Tab:
    """A tab that the address names while it is open, so that a link reopens it."""
    opened = gr.Tab(title, id=name, elem_id=f"tab-{name}")
    opened.select(None, js=NAME_TAB.replace("NAME", name))
    return opened


def build(queue_size: int = QUEUE_SIZE) -> gr.Blocks:
    """The whole page, for at most so many waiting visitors."""
    gr.set_static_paths([EXAMPLES[0].path.parent])
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(server.SWEEP_SECONDS, server.KEEP_SECONDS)) as page:
        gr.HTML(HEADER, padding=False)
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with tab("Restore", "restore"):
                build_restore()
            with tab("Denoise", "denoise"):
                boxes = build_denoise()
            with tab("Colorize", "colorize"):
                build_colorize()
            with tab("Add noise", "noise"):
                build_noise(tabs, boxes)
            with tab("Gallery", "gallery"):
                build_gallery()
            with tab("Batch", "batch"):
                build_batch()
            with tab("About", "about"):
                build_about()
        page.load(None, js=OPEN_TAB)
        page.load(None, js=KEEP_CLICKS)
        page.load(None, js=slider.LET_SCROLL)
        page.load(None, js=slider.TAKE_KEYS)
        page.unload(stop_jobs)
    page.queue(max_size=queue_size, default_concurrency_limit=1, api_open=False)
    return page


def launch(page: gr.Blocks, **options: Any) -> str:
    """Serve the page behind its guards, and give its address."""
    server.sweep_for_ever(page.temp_file_sets)
    if not gpu.IS_LENT:  # there the networks live in the job's own process
        threading.Thread(target=run_alone, args=[lambda: later.work.load_models()], name="load models", daemon=True).start()
    _, address, _ = page.launch(
        theme=theme.build_theme(),
        css_paths=theme.CSS,
        head=theme.HEAD,
        favicon_path=theme.FAVICON,
        app_kwargs={"middleware": [Middleware(server.Guard, left=visitors.stop)]},
        max_file_size=server.MAX_UPLOAD_BYTES,
        state_session_capacity=200,
        enable_monitoring=False,
        run_history=False,
        show_error=False,
        strict_cors=True,
        ssr_mode=False,
        mcp_server=find_spec("mcp") is not None,  # with `pip install "gradio[mcp]"`
        footer_links=["api"],
        **options,
    )
    return address


if __name__ == "__main__":
    launch(build())
