"""Multi-object tracking (MOTChallenge, MOTS)."""
