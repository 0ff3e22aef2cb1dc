"""The store `sqlite:PATH`: one file, one core."""
