"""Online association on arrays: motion, costs, matching, tracks. NumPy and lap only."""
