"""The run log: its contract and its stores."""
