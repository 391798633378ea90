"""Helpers that several tests share: models, songs, servers and scores."""
