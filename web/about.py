"""The About tab: what was measured, read from the file that the evaluation writes; limits; credits."""

import html
import json
from pathlib import Path
from typing import Any

from web.examples import EXAMPLES

RESULTS = Path(__file__).parents[1] / "docs" / "results.json"
"""Name of each table to its model, caption, columns and rows, as `python -m train.evaluate` writes it."""

HOW_IT_WORKS = """
<figure class="how" role="img" aria-label="A photo passes the denoiser, then the colorizer, and comes out clean and in colour.">
<div><b>Your photo</b><span>up to 50 megapixels, any of eight formats</span></div><i aria-hidden="true">→</i>
<div><b>Denoiser</b><span>a U-Net predicts the noise and subtracts it, tile by tile</span></div><i aria-hidden="true">→</i>
<div><b>Colorizer</b><span>only if it is grey: colour is predicted from lightness</span></div><i aria-hidden="true">→</i>
<div><b>The result</b><span>same size, profile and EXIF, without the location</span></div>
</figure>
"""

LIMITS = """
### What it cannot do
- **Colours are guesses.** Skies and grass come out well; the colour of a dress is unknowable. Give hints with the brush.
- **Detail that the noise has swallowed is gone.** The denoiser invents nothing, so strong noise leaves soft pictures.
- **No scratches, tears or faces.** Missing parts are not painted in, and faces get no special treatment.
- **PSNR is not beauty.** It counts squared errors; a timid brown can beat a brave red. So the grey picture's own
  PSNR stands beside every colour score.

### Your pictures
They stay on this server, under addresses that no one can guess, and are deleted within the hour. There are no analytics, and
nothing is fetched from elsewhere. The location is removed from the EXIF data of every result.
"""


def results_markdown(path: Path = RESULTS) -> str:
    """The measured tables as Markdown, or a plain statement that there are none yet."""
    if not path.is_file():
        return "### What was measured\nNothing yet: `python -m train.evaluate` writes the file of results that is shown here."
    tables = json.loads(path.read_text(encoding="utf-8")).values()
    return "\n\n".join(["### What was measured", *map(_table, tables)])


def curve_points(path: Path = RESULTS) -> list[tuple[float, str, float]]:
    """PSNR of every method on CBSD68 against the noise level, as (sigma, method, PSNR); of a clean picture it has no bound."""
    if not path.is_file():
        return []
    table = json.loads(path.read_text(encoding="utf-8"))["cbsd68"]
    sigmas = [float(column.rpartition(" ")[2]) for column in table["columns"][1:]]
    return [(sigma, row[0], psnr) for row in table["rows"] for sigma, psnr in zip(sigmas, row[1:], strict=True) if sigma > 0]


def _table(table: dict[str, Any]) -> str:
    columns = table["columns"]
    rows = [columns, ["---"] * len(columns), *table["rows"]]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join([f"**{html.escape(table['caption'])}** ({html.escape(table['model'])})", "", *lines])


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else html.escape(str(value)).replace("|", "\\|")


def credits_markdown() -> str:
    """Whom the example photographs are from."""
    lines = [f"- [{e.title}]({e.photo_page}) by {html.escape(e.author)} ([licence]({e.licence}))" for e in EXAMPLES]
    return "\n".join(["### The example photographs", *lines])
