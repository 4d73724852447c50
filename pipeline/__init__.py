"""FineTrack (CVPR 2023) as a reproducible multi-object-tracking pipeline."""
