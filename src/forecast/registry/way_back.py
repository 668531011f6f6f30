"""Which version a rollback goes to; pure."""

from collections.abc import Mapping

Tags = Mapping[str, str]


def way_back(versions: Mapping[int, Tags], champion: int, spec: str) -> int | None:
    """The nearest predecessor of the champion that can serve; None where there is none.

    A version made for other feature definitions would be refused by the API, and one that was rolled back before would
    lead back and forth between two bad models.

    Args:
        versions: the tags of every version of a target; ``replaced`` names a version's predecessor.
        spec: the hash of the feature definitions in force.
    """
    passed = {champion}
    number = _predecessor(versions.get(champion, {}))
    while number is not None and number in versions and number not in passed:
        tags = versions[number]
        if tags.get("spec") == spec and tags.get("decision") != "rolled_back":
            return number
        passed.add(number)
        number = _predecessor(tags)
    return None


def _predecessor(tags: Tags) -> int | None:
    return int(tags["replaced"]) if "replaced" in tags else None
