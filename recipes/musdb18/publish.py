"""Stage 4: the trained model as a folder for the Hugging Face Hub, and there if it has a name."""

import interrupted  # noqa: F401  # isort: skip

from asteroid_waveunet.experiment import publishing, stage

if __name__ == "__main__":
    stage.run(publishing.publish)
