"""Layers and transforms that the networks are built from.

geometry          valid lengths of a network: context, step, delays (integers only)
wave_unet_blocks  down block, up block, upsampling, output head
stft              short-time Fourier transform with an exact inverse
symmetry          both signs and sides of a signal
fft_conv          convolution with long filters by FFT
autocast          exclude operations from mixed precision
meta              build models on the meta device; reject absurd sizes
"""
