"""`make observe`: Tokenwire, Prometheus, rotel and Phoenix on loopback, and a stall to look at."""
