"""A run that asks a person, through an edge."""
