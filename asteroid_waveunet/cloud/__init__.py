"""Other machines: their files and their processors.

storage      files by URL (fsspec), errors in one line
web          https://
ray_cluster  the connection to a Ray cluster
"""
