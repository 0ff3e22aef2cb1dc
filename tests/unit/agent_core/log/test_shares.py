"""Shares: who gives up what, whatever a store holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from agent_core.log.budget import LogBudget
from agent_core.log.errors import LogFullError, PrincipalLogFullError
from agent_core.log.shares import EVERYBODY, Ledger, Live, Shares

BUDGET = LogBudget(run_bytes=8, total_bytes=100, principal_bytes=40)
"""The shortest ring is a whole one here: five runs go on at most for each, twelve in all."""

OWNERS = ("ann", "bob", "cat", "dan")


@dataclass
class Store:
    """Holds sizes, in the order in which they came."""

    budget: LogBudget
    rings: dict[str, list[int]] = field(default_factory=dict)
    over: dict[str, list[int]] = field(default_factory=dict)
    said: dict[str, list[int]] = field(default_factory=dict)
    given_up: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shares = Shares(self.budget, self)

    def start(self, owner: str) -> None:
        account = self.shares.account_of(owner)
        self.shares.admit(account, 0)
        self.rings.setdefault(account, []).append(0)

    def write(self, owner: str, size: int) -> None:
        """Write into the run that was started last."""
        account = self.shares.account_of(owner)
        rings = self.rings[account]
        before = rings[-1]
        rings[-1] = min(self.budget.run_bytes, before + size)
        self.shares.held.add(account, rings[-1] - before)
        self.shares.keep(account)

    def end(self, owner: str) -> None:
        """End the run that was started first."""
        account = self.shares.account_of(owner)
        self.over.setdefault(account, []).append(self.rings[account].pop(0))

    def say(self, owner: str, size: int) -> None:
        account = self.shares.account_of(owner)
        self.said.setdefault(account, []).append(size)
        self.shares.add_said(account, size)
        self.shares.keep_said(account)

    def live(self, account: str) -> Live:
        return Live(len(self.rings.get(account, ())), 0)

    def drop_ended(self, account: str) -> bool:
        if not self.over.get(account):
            return False
        self.shares.held.add(account, -self.over[account].pop(0))
        self.given_up.append((account, "ended"))
        return True

    def drop_said(self, account: str) -> bool:
        if not self.said.get(account):
            return False
        self.shares.add_said(account, -self.said[account].pop(0))
        self.given_up.append((account, "said"))
        return True

    def shorten(self, account: str, least_bytes: int) -> bool:
        rings = self.rings.get(account, [])
        largest = max(range(len(rings)), key=rings.__getitem__, default=None)
        if largest is None or rings[largest] <= max(1, least_bytes):
            return False
        dropped = max(1, rings[largest] // 4)
        rings[largest] -= dropped
        self.shares.held.add(account, -dropped)
        self.given_up.append((account, "ring"))
        return True

    def held(self, account: str) -> int:
        kinds = (self.rings, self.over, self.said)
        return sum(sum(kind.get(account, ())) for kind in kinds)


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "write", "end", "say"]), st.sampled_from(OWNERS), st.integers(1, 12)),
    max_size=80,
)


@given(STEPS, st.sampled_from([0, 40]))
def test_shares_hold_whatever_is_done(steps: list[tuple[str, str, int]], principal_bytes: int) -> None:
    """Nobody has more than a share, all together not more than there is, and the sums are right."""
    store = Store(LogBudget(run_bytes=8, total_bytes=100, principal_bytes=principal_bytes))
    shares = store.shares
    for step, owner, size in steps:
        account = shares.account_of(owner)
        if step == "start":
            try:
                store.start(owner)
            except PrincipalLogFullError:
                assert store.live(account).runs == 5
            except LogFullError:
                assert principal_bytes == 0 or sum(map(len, store.rings.values())) > 11
        elif step == "write" and store.live(account).runs:
            store.write(owner, size)
        elif step == "end" and store.live(account).runs:
            store.end(owner)
        elif step == "say":
            store.say(owner, size)
        for name in (*OWNERS, EVERYBODY):
            assert shares.held.of(name) == store.held(name)
            assert shares.said.of(name) == sum(store.said.get(name, ()))
            if principal_bytes:
                assert store.held(name) <= principal_bytes + sum(store.said.get(name, ()))
                assert shares.said.of(name) <= principal_bytes // 4
        assert shares.held.total == sum(map(store.held, (*OWNERS, EVERYBODY)))
        assert shares.said.total <= 25


@given(STEPS)
def test_who_holds_less_gives_up_nothing(steps: list[tuple[str, str, int]]) -> None:
    """Whatever ann does, bob's few bytes stay, and he may start."""
    store = Store(BUDGET)
    store.start("bob")
    store.write("bob", 4)
    store.end("bob")
    store.say("bob", 2)
    for step, _, size in steps:
        if step == "start" and store.live("ann").runs < 5:
            store.start("ann")
        elif step == "say":
            store.say("ann", size)
        elif store.live("ann").runs:
            store.write("ann", size) if step == "write" else store.end("ann")
    store.start("bob")
    assert not [what for account, what in store.given_up if account == "bob"]


def test_what_is_over_is_given_up_before_what_goes_on() -> None:
    """Ended runs, then what sessions remember, then the rings."""
    store = Store(BUDGET)
    for _ in range(5):
        store.start("ann")
        store.write("ann", 8)
        store.end("ann")
    assert store.given_up == []
    store.say("ann", 8)
    for _ in range(5):
        store.start("ann")
        store.write("ann", 8)
    kinds = [what for _, what in store.given_up]
    assert kinds == sorted(kinds, key=["ended", "said", "ring"].index)
    assert set(kinds) == {"ended", "said"}


def test_the_heaviest_is_asked_first_and_who_has_nothing_left_is_passed_by() -> None:
    """Down to the shortest ring, where another run is to start."""
    store = Store(LogBudget(run_bytes=128 * 1024, total_bytes=512 * 1024, principal_bytes=320 * 1024))
    for owner, count in (("ann", 2), ("bob", 1), ("cat", 1)):
        for _ in range(count):
            store.start(owner)
            store.write(owner, 128 * 1024)
    assert store.shares.held.total == 512 * 1024
    store.start("dan")
    assert {account for account, _ in store.given_up} == {"ann"}
    store.write("dan", 64 * 1024)
    assert store.shares.held.total <= 448 * 1024
    assert 2 <= starts_until_full(store) <= 5
    assert all(ring >= 48 * 1024 for rings in store.rings.values() for ring in rings)


def starts_until_full(store: Store) -> int:
    """Return how many more runs were started, each by another principal, before one was refused."""
    for number in range(20):
        try:
            store.start(f"p{number}")
        except LogFullError:
            return number
        store.write(f"p{number}", 128 * 1024)
    raise AssertionError("none was refused")


def test_a_ledger_forgets_who_holds_nothing() -> None:
    """Otherwise it would grow with every principal there ever was."""
    ledger = Ledger()
    assert ledger.heaviest() is None
    ledger.add("ann", 3)
    ledger.add("bob", 2)
    assert ledger.heaviest() == "ann"
    assert ledger.heaviest({"ann"}) == "bob"
    ledger.add("ann", -3)
    assert (ledger.total, ledger.heaviest(), ledger._held) == (2, "bob", {"bob": 2})
