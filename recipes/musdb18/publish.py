"""Stage 4: the trained model as a folder for the Hugging Face Hub, and there if it has a name."""

import interrupted  # noqa: F401  # isort: skip

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.publishing import package

if __name__ == "__main__":
    stages.run(package.publish)
