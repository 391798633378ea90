"""Metrics of one track.

bss_eval_v4         SDR, ISR, SIR and SAR as museval computes them, much faster
distortion_filters  their least-squares filters
windows             windows, museval's rule of silence, and the SDR alone
museval_engine      museval itself
track_metrics       scores of a track's targets in museval's format, by either
"""
