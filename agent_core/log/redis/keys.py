"""What is kept under which key. Pure.

A run's own keys share a hash tag, and its events are a stream whose ids are `<sequence>-0`. Scripts also
touch keys of other runs, of the session and of the core, so all of them belong on one primary: a
cluster that spreads keys over several is not served.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent_core.log.records import RunRecord
from tokenwire.principal import owned_key


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of all keys and channels.

    Args:
        prefix: What each begins with.
    """

    prefix: str

    def meta(self, run_id: str) -> str:
        """Return the hash of what is known of a run besides its events."""
        return f"{self.prefix}:{{{run_id}}}:meta"

    def log(self, run_id: str) -> str:
        """Return the stream of a run's events."""
        return f"{self.prefix}:{{{run_id}}}:log"

    def channel(self, run_id: str) -> str:
        """Return the channel on which a run's appends are told."""
        return f"{self.prefix}:{{{run_id}}}:channel"

    def request(self, request_key: str) -> str:
        """Return the string that names the run of a request."""
        return f"{self.prefix}:request:{request_key}"

    @property
    def open_runs(self) -> str:
        """The set of the runs without a terminal event."""
        return f"{self.prefix}:open"

    @property
    def cores(self) -> str:
        """The hash of the cores that have, or had, a lease: what is known of each one's process."""
        return f"{self.prefix}:cores"

    def lease(self, core: str) -> str:
        """Return the string that stands while a core lives."""
        return f"{self.prefix}:core:{core}"

    def core_runs(self, core: str) -> str:
        """Return the set of a core's open runs."""
        return f"{self.prefix}:core:{core}:runs"

    def inbox(self, core: str) -> str:
        """Return the stream of words for a core."""
        return f"{self.prefix}:core:{core}:inbox"

    def wake(self, core: str) -> str:
        """Return the channel on which a core is told to look into its inbox."""
        return f"{self.prefix}:core:{core}:wake"

    def session_live(self, owner: str, session_id: str) -> str:
        """Return the string that names a session's live run."""
        return f"{self.prefix}:session:{owned_key(owner, session_id)}:live"

    def session_runs(self, owner: str, session_id: str) -> str:
        """Return the sorted set of a session's runs."""
        return f"{self.prefix}:session:{owned_key(owner, session_id)}:runs"

    def session_said(self, owner: str, session_id: str) -> str:
        """Return the list of a session's exchanges."""
        return f"{self.prefix}:session:{owned_key(owner, session_id)}:said"

    def owner(self, owner: str) -> str:
        """Return the hash of what is kept for a principal."""
        return f"{self.prefix}:owner:{owned_key(owner, '')[:-1]}"

    def of_record(self, record: RunRecord) -> tuple[str, str, str, str, str]:
        """Return a run's keys beside its own: open runs, its core's, request, session's live run and runs."""
        return (
            self.open_runs,
            self.core_runs(record.core),
            self.request(record.request_key),
            self.session_live(record.owner, record.session_id),
            self.session_runs(record.owner, record.session_id),
        )
