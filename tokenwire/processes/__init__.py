"""Child processes: started, watched, and ended for certain. For the command line and an edge's workers."""

from tokenwire.processes.child import LAUNCHER, Child, explain_exit

__all__ = ["LAUNCHER", "Child", "explain_exit"]
