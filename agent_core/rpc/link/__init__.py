"""The link: one long-lived stream that carries the runs which one edge process follows at this core."""
