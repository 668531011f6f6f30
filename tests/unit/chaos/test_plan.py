"""The storm's plan, `tests.chaos.plan`: a function of the seed, every kind and target in turn."""

from collections import Counter

import pytest

from tests.chaos.plan import FIRST_S, KINDS, LASTING_S, SERVING, TARGETS, plan, serving


def test_the_same_seed_plans_the_same_storm_and_another_one_does_not() -> None:
    assert plan(7, KINDS, 30, 100.0) == plan(7, KINDS, 30, 100.0)
    assert plan(7, KINDS, 30, 100.0) != plan(8, KINDS, 30, 100.0)


def test_every_kind_comes_as_often_as_the_others_in_order_of_time() -> None:
    faults = plan(1, KINDS, 5 * len(KINDS), 300.0)
    assert Counter(fault.kind for fault in faults) == dict.fromkeys(KINDS, 5)
    moments = [fault.at_s for fault in faults]
    assert moments == sorted(moments)
    assert all(FIRST_S <= moment <= 300.0 for moment in moments)


@pytest.mark.parametrize("kind", KINDS)
def test_every_target_of_a_kind_is_hit_before_one_is_hit_twice(kind: str) -> None:
    count = 2 * len(TARGETS[kind])
    assert Counter(fault.targets for fault in plan(3, [kind], count, 60.0)) == dict.fromkeys(TARGETS[kind], 2)


def test_the_scale_shortens_what_lasts() -> None:
    faults = plan(2, ["pause", "cut", "power"], 30, 60.0, scale=0.1)
    assert all(0.1 * LASTING_S[0] <= fault.for_s <= 0.1 * LASTING_S[1] for fault in faults)


def test_serving_processes_run_only_if_one_is_to_be_hurt() -> None:
    assert serving(plan(1, ["drop", "power"], 6, 60.0)) == ()
    assert serving(plan(1, ["kill"], 9, 60.0)) == SERVING
