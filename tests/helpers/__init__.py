"""What several tests share: models, songs, servers, scores."""
