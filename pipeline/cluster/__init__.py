"""Ray's only door: sessions, training groups, parallel maps."""
