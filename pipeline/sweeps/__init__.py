"""Sweeps: many trials of an experiment over stored features and embeddings, kept one by one."""
