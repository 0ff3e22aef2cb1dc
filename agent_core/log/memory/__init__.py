"""The store `memory`: the log is lost with its process."""
