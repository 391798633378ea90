"""Other machines: their files and their processors.

storage      files by URL (fsspec), errors in one line
web          https://
leases       one command at a time writes to a folder of object storage
ray_cluster  the connection to a Ray cluster
"""
