"""What gives a stamp a score."""
