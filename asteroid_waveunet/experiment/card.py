"""The model card: what the Hub, and people, are told of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..model import WaveUNet
from .aggregation import finite
from .assessment import Assessment
from .configuration import Configuration
from .evaluation import protocol_name
from .licences import Terms

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


def make(
    model: WaveUNet,
    configuration: Configuration,
    found: Assessment,
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
    data = ModelCardData(
        model_name="WaveUNet",
        library_name="asteroid",
        license=terms.license or "unknown",
        tags=["asteroid", "audio", "audio-source-separation", "music", "wave-u-net"],
        pipeline_tag="audio-to-audio",
        inference=False,
        datasets=[terms.data.hub] if terms.data.hub else None,
        eval_results=_results(found, terms) or None,
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
            architecture=_architecture(model),
            data=terms.data,
            examples=examples,
            scores=found.as_text(),
            fast=found.fast,
            configuration=configuration.as_yaml(),
            notice=terms.notice(),
        )
    )


def _other_license(terms: Terms) -> dict[str, Any]:
    """What the Hub asks for of a licence that it has no name for."""
    if terms.license != "other":
        return {}
    return {"license_name": "see-notice", "license_link": "NOTICE.md"}


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )


def _architecture(model: WaveUNet) -> dict[str, str]:
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


def _results(found: Assessment, terms: Terms) -> list[EvalResult]:
    """One entry a source and aggregation, for the card's model-index."""
    summary = finite(found.summaries[found.name])
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name="Music source separation",
            dataset_type=terms.data.hub or "own",
            dataset_name=terms.data.name,
            dataset_split="test",
            metric_type="sdr",
            metric_name=f"SDR {source} ({title}; {protocol_name(_together(found))}; dB)",
            metric_value=round(value, 3),
            metric_args={
                "aggregation": key,
                "protocol": found.protocol,
                "targets": list(_together(found)),
                "windows": metrics["SDR"]["windows"],
            },
        )
        for source, metrics in summary.items()
        for key, title in AGGREGATIONS.items()
        if (value := metrics["SDR"][key]) is not None
    ]


def _together(found: Assessment) -> Sequence[str]:
    """What was scored together."""
    protocol: Any = found.scores[0]["protocol"]
    return protocol
