"""Other machines: their files and their processors.

storage      files by URL (fsspec), errors in one line
ray_cluster  the connection to a Ray cluster
"""
