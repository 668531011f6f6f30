"""A rollback finds a version that can serve, or none; it never goes back and forth."""

from forecast.registry.way_back import way_back

NOW, OLD = "now", "old"


def test_it_goes_to_the_version_that_was_replaced() -> None:
    assert way_back({1: {"spec": NOW}, 2: {"spec": NOW, "replaced": "1"}}, 2, NOW) == 1


def test_versions_of_other_feature_definitions_are_passed_over() -> None:
    versions = {
        1: {"spec": NOW},
        2: {"spec": OLD, "replaced": "1"},
        3: {"spec": NOW, "replaced": "2"},
    }
    assert way_back(versions, 3, NOW) == 1
    assert way_back(versions, 3, "newer") is None


def test_a_version_that_was_rolled_back_is_not_gone_back_to() -> None:
    versions = {
        1: {"spec": NOW, "replaced": "2"},
        2: {"spec": NOW, "replaced": "1", "decision": "rolled_back"},
    }
    assert way_back(versions, 1, NOW) is None


def test_a_predecessor_that_was_deleted_ends_the_search() -> None:
    assert way_back({2: {"spec": NOW, "replaced": "1"}}, 2, NOW) is None
    assert way_back({2: {"spec": NOW}}, 2, NOW) is None
