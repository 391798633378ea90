"""Stage 4: the trained model as a folder that is ready for the Hugging Face Hub."""

import json

from asteroid_waveunet import WaveUNet
from asteroid_waveunet.experiment import musdb, publishing, splits, stage


def main(configuration, places):
    """Packs weights, configuration, scores and card."""
    summary_file = places.scores / "summary.json"
    if not summary_file.is_file():
        raise FileNotFoundError(f"There is no {summary_file}; run stage 3 (evaluate) first.")
    result = json.loads(summary_file.read_text())
    if result["fingerprint"] != places.fingerprint(configuration):
        raise ValueError(
            f"{summary_file} holds the scores of another model than {places.best_model}; delete "
            f"{places.scores} and run stage 3 (evaluate) again."
        )
    if result["failures"]:
        raise ValueError(
            f"{summary_file} lacks {', '.join(result['failures'])}, which could not be scored; "
            "run stage 3 (evaluate) again."
        )
    publishing.pack(
        WaveUNet.from_pretrained(places.best_model),
        places.published,
        configuration,
        result["systems"]["model"],
        (places.scores / "scores.md").read_text(),
        data="musdb18" if is_musdb18(places.dataset(configuration.data)) else None,
    )
    print(f"The folder for the Hub is {places.published}.")


def is_musdb18(root):
    """Whether a folder holds MUSDB18's songs, whose licence binds what is trained on them."""
    names = {track.name for track in musdb.tracks(root, "train")}
    return not names.isdisjoint(splits.OFFICIAL_VALIDATION)


if __name__ == "__main__":
    stage.run(main)
