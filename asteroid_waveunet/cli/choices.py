"""Values that options may take.

They repeat what torch-importing modules define: `--help` works without torch. A test compares the
two.
"""

from __future__ import annotations

__all__ = [
    "BITS",
    "CHANNELS",
    "CLIPS",
    "ENGINES",
    "EXPORT_FORMATS",
    "LENGTHS",
    "METRICS",
    "MISSING_STEMS",
    "PRECISIONS",
    "STEM_FORMATS",
    "SUBSETS",
    "WEB",
    "WEIGHT_FORMATS",
]

PRECISIONS = ("fp32", "bf16")
CHANNELS = ("mix", "each")
STEM_FORMATS = ("wav", "flac", "mp3", "ogg", "stem.mp4")
BITS = ("16", "24", "float")
CLIPS = {
    "clamp": "limit each stem and move the excess to the others, which preserves their sum",
    "rescale": "scale all stems of the song by one gain until none exceeds full scale",
    "none": "no treatment: integer formats clip each stem at full scale",
}
SUBSETS = ("test", "train")
ENGINES = ("bss_eval", "museval")  # the default first
MISSING_STEMS = ("error", "silence")
LENGTHS = ("error", "pad", "cut")
METRICS = ("SDR", "SIR", "ISR", "SAR")

# File suffix -> format of `waveunet export`.
EXPORT_FORMATS = {".onnx": "onnx", ".pt": "torchscript"}  # one hop of the network
WEIGHT_FORMATS = {".bin": "asteroid", ".pth": "asteroid", ".safetensors": "safetensors"}
WEB = "web"  # a folder: a page that separates songs
