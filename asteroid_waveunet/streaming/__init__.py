"""Block-wise inference whose joined output equals one pass over the whole track.

interface           protocols of the models and streams used here
options             SeparationOptions: precision, shifts, mixture consistency, resampling
base                BlockStream, the base class of all streams
wave_unet_stream    Stream: a WaveUNet fed in blocks
stateful_wave_unet  a WaveUNet that computes one hop after another
overlapping_chunks  ChunkStream: other networks, in overlapping chunks
ensemble            averaging over shifts, mixture consistency
track_stream        TrackStream: tracks of any sample rate and channel count
exported_step       one hop as a function of mixture and state
export              one hop as an ONNX or TorchScript file
"""
