"""A trained model as a folder that is ready for the Hugging Face Hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from asteroid.models import BaseModel
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .. import weights
from ..files import replacing
from ..model import WaveUNet
from .configuration import Configuration

__all__ = ["DATA", "pack"]

# What is known of the data sets that have a name: what the card calls them, their name on the Hub,
# and the licence that weights trained on them may have. MUSDB18's tracks are for educational,
# non-commercial use.
DATA: dict[str, dict[str, str | None]] = {
    "demo": {"name": "generated demonstration songs", "hub": None, "license": "mit"},
    "musdb18": {"name": "MUSDB18", "hub": "musdb18", "license": "cc-by-nc-sa-4.0"},
    "musdb18hq": {"name": "MUSDB18-HQ", "hub": "musdb18hq", "license": "cc-by-nc-sa-4.0"},
}

Summary = Mapping[str, Mapping[str, Mapping[str, float | None]]]

CARD = """---
{{ card_data }}
---

# Wave-U-Net: {{ sources }}

{{ rate }} Hz, {{ channels }} channel(s), {{ parameters }} parameters, trained on {{ data_name }}
with [Asteroid](https://github.com/asteroid-team/asteroid) and asteroid-waveunet.

## Use

```python
from asteroid_waveunet import WaveUNet

model = WaveUNet.from_pretrained("USER/MODEL")  # or this folder
model.file_separate("song.wav")  # song_{{ first_source }}.wav and so on
```

After `import asteroid_waveunet`, `asteroid.models.BaseModel.from_pretrained` loads it too.

## Scores

On the test tracks of {{ data_name }}: {{ scores }}
## Training

```yaml
{{ configuration }}```

## Licence

{{ license_note }}

## Citation

Stoller, Ewert, Dixon. *Wave-U-Net: A Multi-Scale Neural Network for End-to-End Audio Source
Separation.* ISMIR 2018.
"""

LICENSE_NOTE = {
    None: "The owner of the training data has stated no licence for these weights.",
    "cc-by-nc-sa-4.0": "The weights are licensed under CC BY-NC-SA 4.0: the training data is for "
    "non-commercial use only.",
}


def pack(
    model: WaveUNet,
    folder: str | os.PathLike,
    configuration: Configuration,
    summary: Summary,
    scores: str,
    data: str | None = None,
) -> Path:
    """Builds the folder: weights in both formats, configuration, scores, card.

    The folder is checked before it takes its name: it must load by `WaveUNet.from_pretrained`
    and by Asteroid's own, and separate as the model does.

    Args:
        model: the trained model.
        summary: source -> metric -> figure -> dB, as `aggregation.finite` gives it.
        scores: the same for people, beside the baselines, in Markdown.
        data: which of `DATA` it was trained on, where the configuration names a folder only.
    Returns:
        The folder.
    """
    folder = Path(folder)
    building = folder.with_name(f".partial.{folder.name}")
    shutil.rmtree(building, ignore_errors=True)
    conf = model.serialize(
        training_config=configuration.as_dict(), final_metrics=summary, task="separation"
    )
    weights.save(conf, building)
    configuration.save(building / "conf.yml")
    (building / "scores.json").write_text(json.dumps(summary, indent=1) + "\n")
    with replacing(building / "README.md") as partial:
        card = make_card(model, configuration, summary, scores, data)
        card.save(partial)
    check(model, building)
    folder.mkdir(exist_ok=True)
    for file in building.iterdir():  # what else is in the folder stays, such as a checkout's .git
        file.replace(folder / file.name)
    building.rmdir()
    return folder


def make_card(
    model: WaveUNet,
    configuration: Configuration,
    summary: Summary,
    scores: str,
    data: str | None = None,
) -> ModelCard:
    """The model card, its metadata in the Hub's own terms."""
    unknown: dict[str, str | None] = {"name": None, "hub": None, "license": None}
    known = DATA.get(configuration.data.dataset) or DATA.get(data or "", unknown)
    publishing = configuration.publishing
    data_name = publishing.data_name or known["name"] or Path(configuration.data.dataset).name
    license_id = publishing.license or known["license"]
    card_data = ModelCardData(
        model_name="WaveUNet",
        library_name="asteroid",
        license=license_id or "unknown",
        tags=["asteroid", "audio", "audio-source-separation", "wave-u-net"],
        pipeline_tag="audio-to-audio",
        inference=False,
        datasets=[known["hub"]] if known["hub"] else None,
        eval_results=_results(summary, data_name, known["hub"] or "own") or None,
    )
    note = LICENSE_NOTE.get(license_id, f"The weights are licensed under {license_id}.")
    return ModelCard.from_template(
        card_data,
        template_str=CARD,
        sources=", ".join(model.sources),
        first_source=model.sources[0],
        rate=f"{model.sample_rate:g}",
        channels=model.in_channels,
        parameters=f"{sum(p.numel() for p in model.parameters()):,}",
        data_name=data_name,
        scores=scores.strip(),
        configuration=configuration.as_yaml(),
        license_note=note,
    )


def check(model: WaveUNet, folder: Path) -> None:
    """The folder's weights, loaded each way, are the model's to the bit, and separate as it does.

    The estimates are compared to rounding: how a convolution is summed depends on where its
    tensors lie in memory.

    Raises:
        RuntimeError: if they are not, which would be our mistake.
    """
    mixture = torch.randn(model.in_channels, 4 * model.geometry.step)
    state, expected = model.state_dict(), model.eval().torch_separate(mixture)
    loaded = (
        WaveUNet.from_pretrained(folder),
        WaveUNet.from_pretrained(folder / weights.SAFETENSORS),
        BaseModel.from_pretrained(str(folder / weights.BIN)).eval(),
    )
    for other in loaded:
        same = all(torch.equal(state[name], t) for name, t in other.state_dict().items())
        close = torch.allclose(other.torch_separate(mixture), expected, rtol=0, atol=1e-4)
        if not (same and close):
            raise RuntimeError(f"The weights in {folder} are not the trained model's.")


def _results(summary: Summary, data_name: str, data_type: str) -> list[EvalResult]:
    """One entry a source and aggregation, for the card's model-index."""
    aggregations = {"median": "pooled median", "median_of_medians": "median of track medians"}
    return [
        EvalResult(
            task_type="audio-source-separation",
            dataset_type=data_type,
            dataset_name=data_name,
            dataset_split="test",
            metric_type="sdr",
            metric_name=f"SDR {source} ({name}, BSS Eval v4, dB)",
            metric_value=round(value, 3),
        )
        for source, metrics in summary.items()
        for key, name in aggregations.items()
        if (value := metrics["SDR"].get(key)) is not None
    ]
