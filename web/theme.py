"""The look: one accent, warm greys, the reader's own fonts (none is fetched from elsewhere)."""

from pathlib import Path

import gradio as gr

FOLDER = Path(__file__).parent
CSS = FOLDER / "theme.css"
FAVICON = FOLDER / "favicon.png"

FONTS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")

HEAD = """
<meta name="description" content="Takes the noise out of photographs, and gives grey ones colour.">
<script>
window.firstTab = new URLSearchParams(location.search).get("tab");
{ // Browsers that do not know a format give its files no type, and gradio's image boxes refuse them before the server is asked.
    const types = {avif: "avif", heic: "heic", heif: "heif", hif: "heif", tif: "tiff", tiff: "tiff"};
    const ending = (file) => file.name.split(".").pop().toLowerCase();
    const isMistyped = (file) => !file.type.startsWith("image/") && ending(file) in types;
    const typed = (file) => isMistyped(file) ? new File([file], file.name, {type: `image/${types[ending(file)]}`}) : file;
    const transfer = (files) => {
        const all = new DataTransfer();
        for (const file of files) all.items.add(typed(file));
        return all;
    };
    document.addEventListener("change", ({target}) => {
        if (target.type === "file" && [...target.files].some(isMistyped)) target.files = transfer(target.files).files;
    }, true);
    document.addEventListener("drop", (event) => {
        if (![...event.dataTransfer.files].some(isMistyped)) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        const again = {bubbles: true, cancelable: true, dataTransfer: transfer(event.dataTransfer.files)};
        event.target.dispatchEvent(new DragEvent("drop", again));
    }, true);
}
</script>
"""


def build_theme() -> gr.themes.Base:
    """Gradio's plain theme with our colours; what it cannot say is in theme.css."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.stone,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_lg,
        font=FONTS,
        font_mono=MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_border_color_dark="*neutral_800",
        block_label_background_fill="white",
        block_label_background_fill_dark="*neutral_900",
        block_label_border_width="0px",
        block_label_text_color="*neutral_500",
        block_label_text_color_dark="*neutral_400",
        block_shadow="none",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        color_accent="*primary_700",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_background_fill_dark="*neutral_900",
        button_secondary_background_fill_hover_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_700",
        button_border_width="1px",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        slider_color="*primary_700",
        slider_color_dark="*primary_500",
    )
