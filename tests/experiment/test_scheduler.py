"""The ledger against one that looks at everything each time, on graphs made up at random."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossmod.experiment.jobs import TRIES, Outcome, Scheduler

LETTERS = "abcdefghij"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Jobs in any order, each with some of the earlier letters as needs: no circles."""
    size = draw(st.integers(0, len(LETTERS)))
    needs = {
        name: tuple(sorted(draw(st.sets(st.sampled_from(LETTERS[:place]))) if place else ()))
        for place, name in enumerate(LETTERS[:size])
    }
    return {name: needs[name] for name in draw(st.permutations(sorted(needs)))}


class Naive:
    """The same, by definition: what is ready or blocked is found by looking at all jobs."""

    def __init__(self, needs: dict[str, tuple[str, ...]], done: set[str]):
        self.needs, self.done = needs, set(done)
        self.running: set[str] = set()
        self.failed: set[str] = set()
        self.tries = dict.fromkeys(needs, 0)

    def blocked(self, name: str) -> bool:
        return any(
            other not in self.done and (other in self.failed or self.blocked(other)) for other in self.needs[name]
        )

    def state(self, name: str) -> str:
        for state, names in (("done", self.done), ("running", self.running), ("failed", self.failed)):
            if name in names:
                return state
        if set(self.needs[name]) <= self.done:
            return "ready"
        return "blocked" if self.blocked(name) else "waiting"

    def take(self) -> str | None:
        name = next((name for name in self.needs if self.state(name) == "ready"), None)
        if name is not None:
            self.running.add(name)
            self.tries[name] += 1
        return name

    def settle(self, outcome: Outcome) -> set[str]:
        before = {name for name in self.needs if self.state(name) == "blocked"}
        self.running.remove(outcome.name)
        if outcome.saved:
            self.tries[outcome.name] -= 1
        elif outcome.lost:
            self.failed |= {outcome.name} if self.tries[outcome.name] == TRIES else set()
        else:
            (self.done if outcome.error is None else self.failed).add(outcome.name)
        return {name for name in self.needs if self.state(name) == "blocked"} - before


def agree(ledger: Scheduler, naive: Naive) -> None:
    states = {name: naive.state(name) for name in naive.needs}
    assert ledger.states == states
    assert ledger.counts == {state: list(states.values()).count(state) for state in ledger.counts}
    assert ledger.open == bool({"ready", "running"} & set(states.values()))
    assert {name for name in ledger.failures if states[name] in ("failed", "blocked")} == {
        name for name, state in states.items() if state in ("failed", "blocked")
    }


@given(graphs(), st.data())
def test_it_is_what_one_finds_by_looking_at_everything(needs: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    done = data.draw(st.sets(st.sampled_from(sorted(needs)))) if needs else set()
    ledger, naive = Scheduler(needs, done), Naive(needs, done)
    agree(ledger, naive)
    while ledger.open:
        if not naive.running or data.draw(st.booleans()):
            name = ledger.next_job()
            assert name == naive.take()
        else:
            name = data.draw(st.sampled_from(sorted(naive.running)))
            how = data.draw(st.sampled_from(("done", "done", "error", "lost", "lost", "saved")))
            # Whoever stops has taken a step, so that nobody does for ever.
            how = "done" if how == "saved" and data.draw(st.booleans()) else how
            error = "bad luck" if how == "error" else None
            outcome = Outcome(name, error=error, lost=how == "lost", saved=how == "saved")
            assert set(ledger.finish_job(outcome)) == naive.settle(outcome)
        agree(ledger, naive)
    # In the end all is done, failed, or rests on what failed.
    assert set(ledger.states.values()) <= {"done", "failed", "blocked"}
    assert ledger.next_job() is None


def test_what_is_lost_is_tried_again_but_not_for_ever() -> None:
    ledger = Scheduler({"a": (), "b": ("a",)}, ())
    for _ in range(TRIES):
        assert ledger.next_job() == "a"
        ledger.finish_job(Outcome("a", lost=True, error="the power failed"))
    assert ledger.states == {"a": "failed", "b": "blocked"}
    assert ledger.failures == {"a": "the power failed", "b": "it needs a, which failed"}


def test_what_cannot_be_settled() -> None:
    ledger = Scheduler({"a": ()}, ())
    with pytest.raises(ValueError, match="a is ready, not running"):
        ledger.finish_job(Outcome("a"))
    with pytest.raises(ValueError, match="needed, but no job: b"):
        Scheduler({"a": ("b",)}, ())
    with pytest.raises(ValueError, match="needs itself"):
        Scheduler({"a": ("c",), "b": ("a",), "c": ("b",)}, ())
