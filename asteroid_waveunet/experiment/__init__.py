"""Making a model: data, training, scores, publishing. Needs asteroid-waveunet[experiment]."""
