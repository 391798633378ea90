"""The command's standard streams.

pipes   `-` and pipes as songs, `-` as the output
output  standard output and error whose failure is never the work's
"""
