"""The model card: what the Hub, and people, are told of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from asteroid_waveunet.experiment.config import Configuration
from asteroid_waveunet.experiment.evaluation.aggregation import nan_to_none
from asteroid_waveunet.experiment.evaluation.bss_eval import protocol_name
from asteroid_waveunet.experiment.evaluation.evaluate import Evaluation
from asteroid_waveunet.experiment.publishing.licensing import Terms
from asteroid_waveunet.experiment.training.objectives import WITHOUT_LEVEL
from asteroid_waveunet.models.base import SourceModel
from asteroid_waveunet.models.wave_unet import WaveUNet

__all__ = ["make"]

TEMPLATE = Path(__file__).with_name("templates") / "card.md.j2"
UNNAMED = "USER/MODEL"

# Figure of a summary -> what it is called. A source has both: neither is compared with the other.
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
        name: of the architecture.
        authors: "of" whom it is, with the year.
        bibtex: an entry for those who cite it.
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
        "Luo and Mesgarani (2019), as Asteroid has it",
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
    found: Evaluation,
    terms: Terms,
    examples: Mapping[str, Mapping[str, str]],
    repo_id: str | None = None,
) -> ModelCard:
    """The card of a model, its metadata in the Hub's own terms.

    Args:
        configuration: as it is to be seen.
        found: the model's scores and the baselines'.
        examples: track -> title -> where a recording is: an URL, or a path beside the card.
        repo_id: the model's name on the Hub, if that is known.
    """
    work = WORKS[type(model).__name__]
    data = ModelCardData(
        model_name=type(model).__name__,
        library_name="asteroid",
        license=terms.license or "unknown",
        tags=["asteroid", "audio", "audio-source-separation", "music", _tag(work)],
        pipeline_tag="audio-to-audio",
        inference=False,
        datasets=[terms.data.hub] if terms.data.hub else None,
        eval_results=_results(found, terms, configuration.scoring_notes) or None,
        **_other_license(terms),
    )
    text = _environment().from_string(TEMPLATE.read_text(encoding="utf-8"))
    return ModelCard(
        text.render(
            card_data=data.to_yaml(),
            name=repo_id or UNNAMED,
            sources=model.sources,
            rate=f"{model.sample_rate:g}",
            nyquist=f"{model.sample_rate / 2:g}",
            channels=model.in_channels,
            parameters=f"{sum(p.numel() for p in model.parameters()):,}",
            preset=configuration.model.get("preset"),
            kind=type(model).__name__,
            work=work,
            architecture=_architecture(model),
            data=terms.data,
            examples=examples,
            scores=found.as_text(),
            fast=found.fast,
            unusual=configuration.scoring_notes,
            levels_open=configuration.training.loss in WITHOUT_LEVEL,
            configuration=configuration.as_yaml(),
            notice=terms.notice(),
        )
    )


def _other_license(terms: Terms) -> dict[str, Any]:
    """Return the card fields that the Hub requires for a license without an identifier."""
    if terms.license != "other":
        return {}
    return {"license_name": "see-notice", "license_link": "NOTICE.md"}


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )


def _tag(work: Work) -> str:
    return work.name.lower().replace(" ", "-")


def _architecture(model: SourceModel) -> dict[str, Any]:
    """Describe a Wave-U-Net in words, other models by their arguments."""
    if isinstance(model, WaveUNet):
        return _of_waveunet(model)
    told = ("sources", "in_channels", "sample_rate")
    return {
        name.replace("_", " "): value
        for name, value in model.get_model_args().items()
        if name not in told
    }


def _of_waveunet(model: WaveUNet) -> dict[str, str]:
    arguments, geometry = model.get_model_args(), model.geometry
    filters = f"{arguments['initial_filters']} filters"
    if arguments["filter_growth"]:
        filters += f" and {arguments['filter_growth']} more a level"
    seconds = geometry.left_context / model.sample_rate
    return {
        "levels": f"{arguments['levels']}, {filters}",
        "kernels": "{down_kernel_size} samples down, {up_kernel_size} up, {output_kernel_size} at "
        "the output".format(**arguments),
        "upsampling": UPSAMPLING[arguments["upsampling"]],
        "output": OUTPUT[arguments["output"]].format(last=model.sources[-1])
        + f", {arguments['output_activation']} activation",
        "context": f"{geometry.left_context} samples ({seconds:.2f} s) a side, by "
        + ("valid convolutions" if arguments["context"] else "zero padding"),
    }


def _results(found: Evaluation, terms: Terms, unusual: Sequence[str]) -> list[EvalResult]:
    """One entry a source and aggregation, for the card's model-index."""
    summary = nan_to_none(found.summaries[found.name])
    how = "; ".join([protocol_name(_scored_targets(found)), *unusual, "dB"])
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Music source separation",
            dataset_type=terms.data.hub or "own",
            dataset_name=terms.data.name,
            dataset_split="test",
            metric_type="sdr",
            metric_name=f"SDR {source} ({title}; {how})",
            metric_value=round(value, 3),
            metric_args={
                "aggregation": key,
                "protocol": found.protocol,
                "targets": list(_scored_targets(found)),
                "windows": metrics["SDR"]["windows"],
            },
        )
        for source, metrics in summary.items()
        for key, title in AGGREGATIONS.items()
        if (value := metrics["SDR"][key]) is not None
    ]


def _scored_targets(found: Evaluation) -> Sequence[str]:
    """Return the targets that were scored together."""
    protocol: Any = found.scores[0]["protocol"]
    return protocol
