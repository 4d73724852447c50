"""What the synthetic world is made of: people, how they move, places, things that stand in the way."""
