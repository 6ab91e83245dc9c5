"""The model card of a network: what a run's own records and `evaluate`'s JSON say, nothing typed by hand."""

import dataclasses
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from restore.models.hub import HubModel
from train import results
from train.denoise import DenoiseRecipe
from train.recipe import Recipe
from train.results import Table

TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

{{ purpose }}

```python
from restore import {{ class_name }}

model = {{ class_name }}.from_pretrained("{{ name }}")  # here by its bundled name; on the Hub by "user/repo"
{{ call }}
```

{{ parameters }} million parameters. The configuration is in `config.json`, the weights are in `model.safetensors`.

## Training

{{ steps }} steps with the averaged weights kept, by

    {{ command }}

## Measured

{{ tables }}

## Limits

{{ limits }}
"""

DENOISER = {
    "purpose": "Removes noise from colour pictures, blind to its kind and level.",
    "call": "clean = model(noisy)  # (B, 3, H, W) in [0, 1], any size",
    "limits": "It removes noise, not blur, scratches or compression blocks; drowned texture comes out smooth.",
}
COLORIZER = {
    "purpose": "Gives a picture colour from its lightness, and from colour hints where there are any.",
    "call": "ab = model(lightness)  # (B, 1, H, W) in [0, 100] -> (B, 2, H, W) in Lab units, any size",
    "limits": (
        "The colours are plausible, not those that were; people's skin and clothes are guesses. Do not take them for evidence."
    ),
}


def command(recipe: Recipe) -> str:
    """The command that trains by this recipe: its script, and each flag that is not the class's default."""
    script = "train/denoise.py" if isinstance(recipe, DenoiseRecipe) else "train/colorize.py"
    flags = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if value != field.default and field.name not in ("out", "resume", "push_to"):
            flags.append(f"--{'' if value or not isinstance(value, bool) else 'no-'}{field.name}")
            flags += [] if isinstance(value, bool) else [portable(str(value))]
    return " ".join(["accelerate launch", script, *flags])


def portable(value: str) -> str:
    """A flag's value as it means something elsewhere: paths relative to here, or without the folders that led to them."""
    path = Path(value)
    if not path.is_absolute():
        return value
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def model_card(name: str, model: HubModel, recipe: Recipe, step: int) -> ModelCard:
    """The card of `model`, with the tables that measure it, if there are any."""
    tables = [table for table in results.read().values() if table.model == name]
    kind = DENOISER if name.startswith("denoiser") else COLORIZER
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="pytorch",
        pipeline_tag="image-to-image",
        tags=["denoising" if kind is DENOISER else "colorization", "pytorch_model_hub_mixin", "model_hub_mixin"],
        model_name=name,
        eval_results=eval_results(tables) or None,
    )
    card: ModelCard = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        name=name,
        class_name=type(model).__name__,
        parameters=f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}",
        steps=f"{step:,}",
        command=command(recipe),
        tables="\n\n".join(table.markdown() for table in tables) or "Not measured yet.",
        **kind,
    )
    return card


def eval_results(tables: list[Table]) -> list[EvalResult]:
    """The PSNR figures of the tables as the Hub's model-index takes them."""
    return [
        EvalResult(
            task_type="image-to-image",
            dataset_type=table.name,
            dataset_name=f"{table.caption} ({row[0]})",
            metric_type="psnr",
            metric_name=column,
            metric_value=round(value, 2),
        )
        for table in tables
        for row in table.rows
        for column, value in zip(table.columns, row, strict=True)
        if column.startswith("PSNR") and isinstance(value, float) and row[0] not in ("noisy", "grey", "the paper, as printed")
    ]
