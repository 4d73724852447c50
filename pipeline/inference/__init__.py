"""Trained networks over frames: detections, target features, embeddings."""
