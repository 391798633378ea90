"""Lightning callbacks.

audio_logging    log audio and spectrograms of a validation excerpt
checkpointing    write last.ckpt and best.ckpt
collapse         notice saturated outputs and losses as large as silence's
early_stopping   patience and the paper's second round
ema              exponential moving average of the weights
finite_loss      stop on a NaN or infinite loss
progress         progress bar, log lines and final summary
validation_sdr   SDR of the validation tracks
"""
