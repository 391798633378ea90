"""The model card: a README.md with metadata for the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.evaluation.aggregation import nan_to_none
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.evaluation.metrics.track_metrics import protocol_name
from asteroid_waveunet.experiment.publishing.licensing import Terms
from asteroid_waveunet.experiment.training.objectives import WITHOUT_LEVEL
from asteroid_waveunet.file_utils import valid_unicode
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.models.wave_unet import WaveUNet

__all__ = ["make"]

TEMPLATE = Path(__file__).with_name("templates") / "card.md.j2"
PLACEHOLDER = "USER/MODEL"

# Statistic of a summary -> its name. The card states both, which must not be compared.
AGGREGATIONS = {
    "median": "median over all windows",
    "median_of_medians": "median over tracks of their medians",
}

UPSAMPLING = {
    "linear": "linear interpolation",
    "learned": "learned interpolation",
    "transposed": "strided transposed convolution",
}
OUTPUT = {
    "difference": "{last} is the mixture minus the others",
    "direct": "every source is predicted",
}


@dataclass(frozen=True)
class Work:
    """The publication that an architecture comes from.

    Attributes:
        name: name of the architecture.
        authors: authors and year.
        bibtex: BibTeX entry.
    """

    name: str
    authors: str
    bibtex: str


WORKS = {
    "WaveUNet": Work(
        "Wave-U-Net",
        "Stoller, Ewert and Dixon (2018)",
        """@inproceedings{stoller2018waveunet,
  author = {Stoller, Daniel and Ewert, Sebastian and Dixon, Simon},
  title = {Wave-U-Net: A Multi-Scale Neural Network for End-to-End Audio Source Separation},
  booktitle = {Proceedings of the 19th International Society for Music Information Retrieval
               Conference (ISMIR)},
  year = {2018}
}""",
    ),
    "SpectrogramUNet": Work(
        "spectrogram U-Net",
        "Jansson et al. (2017)",
        """@inproceedings{jansson2017unet,
  author = {Jansson, Andreas and Humphrey, Eric and Montecchio, Nicola and Bittner, Rachel and
            Kumar, Aparna and Weyde, Tillman},
  title = {Singing Voice Separation with Deep U-Net Convolutional Networks},
  booktitle = {Proceedings of the 18th International Society for Music Information Retrieval
               Conference (ISMIR)},
  year = {2017}
}""",
    ),
    "TasNet": Work(
        "Conv-TasNet",
        "Luo and Mesgarani (2019), in Asteroid's implementation",
        """@article{luo2019convtasnet,
  author = {Luo, Yi and Mesgarani, Nima},
  title = {Conv-{TasNet}: Surpassing Ideal Time-Frequency Magnitude Masking for Speech Separation},
  journal = {IEEE/ACM Transactions on Audio, Speech, and Language Processing},
  year = {2019}
}""",
    ),
    "MRCAE": Work(
        "multi-resolution convolutional auto-encoder",
        "Grais, Ward and Plumbley (2018)",
        """@inproceedings{grais2018raw,
  author = {Grais, Emad M. and Ward, Dominic and Plumbley, Mark D.},
  title = {Raw Multi-Channel Audio Source Separation using Multi-Resolution Convolutional
           Auto-Encoders},
  booktitle = {Proceedings of the 26th European Signal Processing Conference (EUSIPCO)},
  year = {2018}
}""",
    ),
}
"""Architecture -> its work."""


def make(
    model: SourceModel,
    configuration: Configuration,
    evaluation: Evaluation,
    terms: Terms,
    examples: Mapping[str, Mapping[str, str]],
    repo_id: str | None = None,
) -> ModelCard:
    """Return the card of a model.

    Args:
        configuration: its configuration without local paths.
        evaluation: scores of the model and the baselines.
        examples: track -> title -> URL of a recording, or its path relative to the card.
        repo_id: repository on the Hub; None for a placeholder.
    """
    metadata = _metadata(model, configuration, evaluation, terms)
    return ModelCard(
        _render(
            card_data=metadata.to_yaml(),
            name=repo_id or PLACEHOLDER,
            sources=model.sources,
            rate=f"{model.sample_rate:g}",
            nyquist=f"{model.sample_rate / 2:g}",
            channels=model.in_channels,
            parameters=f"{sum(p.numel() for p in model.parameters()):,}",
            preset=configuration.model.get("preset"),
            model_class=type(model).__name__,
            work=WORKS[type(model).__name__],
            architecture=_architecture(model),
            data=terms.data,
            examples=examples,
            scores=evaluation.as_text(),
            fast=evaluation.fast,
            unusual=configuration.scoring_notes,
            levels_open=configuration.training.loss in WITHOUT_LEVEL,
            configuration=configuration.as_yaml(),
            notice=terms.notice(),
        )
    )


def _render(**variables: Any) -> str:
    return valid_unicode(_template().render(**variables))


def _metadata(
    model: SourceModel, configuration: Configuration, evaluation: Evaluation, terms: Terms
) -> ModelCardData:
    """Return the card's metadata in the Hub's schema."""
    architecture = type(model).__name__
    work_tag = WORKS[architecture].name.lower().replace(" ", "-")
    return ModelCardData(
        model_name=architecture,
        library_name="asteroid",
        license=terms.license or "unknown",
        tags=["asteroid", "audio", "audio-source-separation", "music", work_tag],
        pipeline_tag="audio-to-audio",
        inference=False,
        datasets=[terms.data.hub] if terms.data.hub else None,
        eval_results=_results(evaluation, terms, configuration) or None,
        **_other_license(terms),
    )


def _other_license(terms: Terms) -> dict[str, Any]:
    """Return the card fields that the Hub requires for a license without an identifier."""
    if terms.license != "other":
        return {}
    return {"license_name": "see-notice", "license_link": "NOTICE.md"}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _architecture(model: SourceModel) -> dict[str, Any]:
    """Describe a Wave-U-Net in words, other models by their arguments."""
    if isinstance(model, WaveUNet):
        return _wave_unet_architecture(model)
    stated_elsewhere = ("sources", "in_channels", "sample_rate")
    return {
        name.replace("_", " "): value
        for name, value in model.get_model_args().items()
        if name not in stated_elsewhere
    }


def _wave_unet_architecture(model: WaveUNet) -> dict[str, str]:
    arguments, geometry = model.get_model_args(), model.geometry
    filters = f"{arguments['initial_filters']} filters"
    if arguments["filter_growth"]:
        filters += f" and {arguments['filter_growth']} more per level"
    seconds = geometry.left_context / model.sample_rate
    return {
        "levels": f"{arguments['levels']}, {filters}",
        "kernels": "{down_kernel_size} samples down, {up_kernel_size} up, {output_kernel_size} at "
        "the output".format(**arguments),
        "upsampling": UPSAMPLING[arguments["upsampling"]],
        "output": OUTPUT[arguments["output"]].format(last=model.sources[-1])
        + f", {arguments['output_activation']} activation",
        "context": f"{geometry.left_context} samples ({seconds:.2f} s) per side, by "
        + ("valid convolutions" if arguments["context"] else "zero padding"),
    }


def _results(
    evaluation: Evaluation, terms: Terms, configuration: Configuration
) -> list[EvalResult]:
    """Return an entry per source and aggregation for the card's model-index."""
    summary = nan_to_none(evaluation.summaries[evaluation.name])
    targets: Any = evaluation.scores[0]["protocol"]  # scored together
    details = "; ".join([protocol_name(targets), *configuration.scoring_notes, "dB"])
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Music source separation",
            dataset_type=terms.data.hub or "own",
            dataset_name=terms.data.name,
            dataset_split={"test": "test", "valid": "validation"}[configuration.evaluation.subset],
            metric_type="sdr",
            metric_name=f"SDR {source} ({title}; {details})",
            metric_value=round(value, 3),
            metric_args={
                "aggregation": key,
                "protocol": evaluation.protocol,
                "targets": list(targets),
                "windows": metrics["SDR"]["windows"],
            },
        )
        for source, metrics in summary.items()
        for key, title in AGGREGATIONS.items()
        if (value := metrics["SDR"][key]) is not None
    ]
