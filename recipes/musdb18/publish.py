"""Stage 4: the trained model as a folder that is ready for the Hugging Face Hub."""

import json

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment import publishing, stage


def main(configuration, places):
    """Packs weights, configuration, scores and card."""
    summary_file = places.scores / "summary.json"
    if not summary_file.is_file():
        raise FileNotFoundError(f"There is no {summary_file}; run stage 3 (evaluate) first.")
    result = json.loads(summary_file.read_text())
    publishing.pack(
        WaveUNet.from_pretrained(places.best_model),
        places.published,
        configuration,
        result["summary"],
        result["table"],
        result["tracks"],
    )
    print(f"The folder for the Hub is {places.published}.")


if __name__ == "__main__":
    stage.run(main)
