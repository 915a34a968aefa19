"""Every registered algorithm passes every check of `conformance_*.py`.

A new one is here as soon as it is registered: `pytest tests/test_conformance.py -k NAME`.
"""

import conformance_contract
import conformance_latch
import conformance_learning
import conformance_state
import pytest
from conformance import NotConforming, subject

from algorithms import ALGORITHMS

CONTRACT = (*conformance_contract.CHECKS, *conformance_state.CHECKS, *conformance_latch.CHECKS)
CHECKS = (*CONTRACT, *conformance_learning.CHECKS)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_conforms(name, check):
    check(subject(name))


@pytest.mark.parametrize(
    ("line", "told"),
    [("nowhere.Nothing", "nowhere.py cannot be imported"), ("replay.Relay", "no 'Relay' in")],
)
def test_a_line_of_the_registry_that_leads_nowhere_is_named(monkeypatch, line, told):
    monkeypatch.setitem(ALGORITHMS, "new", line)
    with pytest.raises(NotConforming, match=told):
        subject("new")
