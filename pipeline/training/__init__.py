"""Training loops on a `Worker`; nothing here knows Ray."""
