"""The edge: carries runs from the cores to browsers as Server-Sent Events."""
