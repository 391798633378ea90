"""Figures that illustrate the arguments of the Wave-U-Net paper.

common           style, files, number formatting and loading of tracks
aliasing         level of spectral images after upsampling
segment_borders  errors and clicks at segment borders
additivity       residual of the mixture after subtracting the estimates
silent_windows   outliers of the SDR in nearly silent windows
"""
