"""Scores: tracking by TrackEval, detection by COCO AP, retrieval by Rank-1 and mAP."""
