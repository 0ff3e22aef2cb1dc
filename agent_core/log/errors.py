"""What stores raise."""


class LogOpenError(Exception):
    """The store can't be opened. The text says why, for an operator."""


class LogAwayError(Exception):
    """The store can't do it at the moment, and has done nothing of it: try again later."""


class LogFullError(Exception):
    """The store has no room for another run at the moment."""


class PrincipalLogFullError(LogFullError):
    """The store has no room for another run of this owner, as long as so many of hers go on."""


class SessionBusyError(Exception):
    """Another run of the session goes on."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id
        """That run."""


class LogGoneError(Exception):
    """The store does not know the run, or does not know it any more."""
