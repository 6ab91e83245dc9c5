"""The model card of a network: what a run's own records and `evaluate`'s JSON say, nothing typed by hand.

python -m train.card    # write the bundled weights' cards again, after `evaluate`
"""

import argparse
import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Self

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser
from restore.models.hub import CONFIG, SAFETENSORS, WEIGHTS, HubModel, bundled, checksum
from train import results
from train.recipe import Recipe
from train.results import Table

CARD, TRAINING = "README.md", "training.json"

TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

{{ purpose }}

```python
from restore import {{ class_name }}, {{ function }}

model = {{ class_name }}.from_pretrained("{{ name }}")
{{ call }}
```

`restore` is the package of the Photo Restorer, installed by `pip install .` in a clone of it; not what PyPI has by that name.

{{ parameters }} million parameters. The configuration is in `config.json`, the weights are in `model.safetensors`.

## Training

{{ steps }} steps on `{{ dataset }}`{% if processes > 1 %} in {{ processes }} processes{% endif %}, with the \
{{ "averaged" if averaged else "last" }} weights kept, by

    {{ command }}
{% if mean_with %}
The weights are the mean of this run's and of those of runs that go back to the same ones:
{% for stage in mean_with %}
    {{ stage }}
{% endfor %}{% endif %}{% if before %}
It began with the weights of earlier runs, as far as they are recorded, first to last:
{% for stage in before %}
    {{ stage }}
{% endfor %}{% endif %}{% if before or mean_with %}
Bundled names after `--init` mean the weights of that time, and `--network` and `--grow` the networks of that time. The
project's README says what the sets without a Hub id are.
{% endif %}
## Measured

{{ tables }}

## Limits

{{ limits }}

"""

NETWORKS: dict[str, type[HubModel]] = {"Denoiser": Denoiser, "Colorizer": Colorizer}
KINDS = {
    "Denoiser": {
        "tag": "denoising",
        "purpose": "Removes noise from colour pictures.",
        "function": "denoise",
        "call": (
            'denoise("noisy.jpg", model=model).save("clean.png")\n'
            "clean = model(noisy)  # or on tensors, (B, 3, H, W) in [0, 1], any size"
        ),
        "limits": "It removes noise, not blur, scratches or compression blocks; texture hidden by the noise comes out smooth.",
    },
    "Colorizer": {
        "tag": "colorization",
        "purpose": "Gives a picture colour from its lightness, and from colour hints where there are any.",
        "function": "colorize",
        "call": (
            'colorize("grey.jpg", model=model).save("colour.png")  # at vividness 1\n'
            "ab = model(lightness)  # or on tensors, the safest guess: (B, 1, H, W) in [0, 100] -> (B, 2, H, W) in Lab units"
        ),
        "limits": (
            "The colours are plausible, not necessarily the original ones; skin and clothes are guesses. Do not take them for "
            "evidence."
        ),
    },
}
PURPOSES = {  # of a denoiser, by the noise that it was trained on
    "photo": "Removes noise and the dots of print from photographs, blind to their kind and strength.",
    "paper-cifar10": "Removes the paper's noise: Gaussian of sigma 0.125, then 1% salt and pepper. Its last run saw no other.",
    "paper-imagenet64": "Removes the paper's noise: Gaussian of sigma 0.125, then 2% salt and pepper. Its last run saw no other.",
}
MEASURES = {"psnr": "PSNR, mean per image", "gain": "over grey", "pooled_gain": "over grey, pooled"}


@dataclasses.dataclass(frozen=True)
class Training:
    """How weights came about; kept beside them as training.json."""

    network: str  # class
    command: str
    dataset: str  # Hub id, or name of a local folder
    steps: int
    validation_pictures: int  # at most
    measures: dict[str, float]  # of the last validation; PSNR in dB
    noise: str = ""  # that a denoiser learned to remove
    before: list[str] = dataclasses.field(default_factory=list)  # the earlier runs that it goes on from, first to last
    mean_with: list[str] = dataclasses.field(default_factory=list)  # the runs whose weights the mean was taken with
    averaged: bool = True  # over the steps; otherwise the weights are the last step's
    processes: int = 1

    @property
    def stage(self) -> str:
        """The run in a line."""
        return f"{self.command}  # {self.steps:,} steps" + (f" in {self.processes} processes" if self.processes > 1 else "")

    @classmethod
    def of(
        cls, recipe: Recipe, model: HubModel, step: int, measures: dict[str, float], before: list[str], processes: int = 1
    ) -> Self:
        return cls(
            network=type(model).__name__,
            command=command(recipe),
            dataset=dataset_name(recipe.dataset),
            steps=step,
            validation_pictures=recipe.validation_pictures,
            measures=measures,
            noise=getattr(recipe, "noise", ""),
            before=before,
            averaged=recipe.ema > 0,
            processes=processes,
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        return cls(**json.loads((folder / TRAINING).read_text()))

    def table(self, name: str) -> Table:
        """The last validation as a table; its first column of PSNR goes to the model-index."""
        caption = f"At most {self.validation_pictures:,} validation pictures of {self.dataset}, measured by the training loop"
        columns = ("weights", *(MEASURES.get(key, key) for key in self.measures))
        row = ("averaged" if self.averaged else "last", *self.measures.values())
        return Table("validation", name, self.dataset, caption, columns, (row,))


def command(recipe: Recipe) -> str:
    """The command that trains by this recipe: its script, and each flag that is not the class's default."""
    flags = []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if value != field.default and field.name not in ("out", "resume", "push_to", "private"):
            flags.append(f"--{'' if value or not isinstance(value, bool) else 'no-'}{field.name}")
            flags += [] if isinstance(value, bool) else [portable(str(value))]
    return " ".join(["accelerate launch", recipe.script, *flags])


def history(recipe: Recipe) -> list[str]:
    """The runs that led to the weights that a run begins with, a line each, first to last; none where no record is at hand."""
    start = recorded(recipe.init)
    if start is None:
        return []
    return [*start.before, start.stage, *(f"{stage}, averaged with the former" for stage in start.mean_with)]


def recorded(name: str) -> Training | None:
    """How the weights of a name or folder came about; None where no record is at hand, as of a Hub id."""
    folder = WEIGHTS / name if name in bundled() else Path(name)
    return Training.read(folder) if name and (folder / TRAINING).is_file() else None


def dataset_name(dataset: str) -> str:
    """A Hub id as it is; of a local folder, whose path may be a stranger's id on the Hub, the name alone."""
    folder = Path(dataset)
    return folder.resolve().name if folder.is_dir() or folder.is_absolute() else dataset


def portable(value: str) -> str:
    """A flag's value as it means something elsewhere: paths relative to here, or without the folders that led to them."""
    path = Path(value)
    if not path.is_absolute():
        return value
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else path.name


def save_card(folder: Path, name: str, training: Training) -> None:
    """Write the card of the weights in `folder`, and the training.json that it is made from."""
    (folder / TRAINING).write_text(json.dumps(dataclasses.asdict(training), indent=1) + "\n")
    model_card(folder, name).save(folder / CARD)


def model_card(folder: Path, name: str) -> ModelCard:
    """The card of the weights in `folder`, which from_pretrained finds by `name`.

    Bundled weights have the tables that `evaluate` measured of these very ones, others the last validation of their training.
    """
    training = Training.read(folder)
    model = NETWORKS[training.network](**json.loads((folder / CONFIG).read_text()))
    weights = checksum(folder / SAFETENSORS) if folder.parent == WEIGHTS else ""
    tables = [table for table in results.read().values() if table.model == folder.name and table.weights == weights]
    tables = tables or [training.table(name)]
    kind = KINDS[training.network]
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="pytorch",
        pipeline_tag="image-to-image",
        tags=[kind["tag"], "pytorch_model_hub_mixin", "model_hub_mixin"],
        datasets=[training.dataset] if re.fullmatch(r"[\w.-]+/[\w.-]+", training.dataset) else None,
        model_name=name,
        eval_results=eval_results(tables) or None,
    )
    values: dict[str, Any] = kind | dataclasses.asdict(training) | {"steps": f"{training.steps:,}"}
    values["purpose"] = PURPOSES.get(training.noise, kind["purpose"])
    card: ModelCard = ModelCard.from_template(
        data,
        template_str=TEMPLATE,
        name=name,
        class_name=training.network,
        parameters=f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}",
        tables="\n\n".join(table.markdown() for table in tables),
        **values,
    )
    return card


def eval_results(tables: list[Table]) -> list[EvalResult]:
    """The PSNR figures of the tables as the Hub's model-index takes them, which puts those of one set together."""
    return [
        EvalResult(
            task_type="image-to-image",
            dataset_type=table.dataset,
            dataset_name=table.caption,
            metric_type="psnr",
            metric_name=column if table.columns[0] == "method" else f"{column}, {table.columns[0]} {row[0]}",
            metric_value=round(value, 2),
        )
        for table in tables
        for row in table.rows
        for column, value in zip(table.columns, row, strict=True)
        if column.startswith("PSNR") and isinstance(value, float) and is_of_the_network(table, str(row[0]))
    ]


def is_of_the_network(table: Table, row: str) -> bool:
    """Whether a row says what the table's network does, rather than the pictures it was given, the paper or a peer."""
    return row == table.model if table.columns[0] == "method" else row not in ("grey", "the paper, as printed")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for weights in bundled():
        model_card(WEIGHTS / weights, weights).save(WEIGHTS / weights / CARD)


if __name__ == "__main__":
    main()
