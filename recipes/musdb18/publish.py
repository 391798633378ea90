"""Stage 4: pack the trained model for the Hugging Face Hub; upload it if --repo_id is set."""

import interrupted  # noqa: F401  # isort: skip

from asteroid_waveunet.experiment import stages
from asteroid_waveunet.experiment.publishing import package

if __name__ == "__main__":
    stages.run(package.publish)
