"""The conformance suite catches every store that breaks a promise."""

import pytest

from salon_persistence.errors import StoreError
from salon_persistence.memory import MemoryStore
from tests.persistence.broken import BROKEN, BrokenPlace
from tests.persistence.broken_mail import BROKEN_MAIL
from tests.persistence.conformance import CHECKS
from tests.persistence.mail_conformance import MAIL_CHECKS


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


async def caught_by(kind: type[MemoryStore]) -> list[str]:
    """Names of the checks that a store of this kind fails."""
    failed: list[str] = []
    for check in CHECKS + MAIL_CHECKS:
        try:
            await check(BrokenPlace(kind))
        except (AssertionError, StoreError, KeyError):
            failed.append(check.__name__)
    return failed


@pytest.mark.parametrize("kind", BROKEN + BROKEN_MAIL, ids=lambda kind: kind.__name__)
async def test_a_broken_store_is_caught(kind: type[MemoryStore]) -> None:
    assert await caught_by(kind) != []


async def test_the_store_that_they_break_is_whole() -> None:
    assert await caught_by(MemoryStore) == []


async def test_no_check_is_useless() -> None:
    """Each one that is about more than a store's first steps catches somebody."""
    caught = {name for kind in BROKEN + BROKEN_MAIL for name in await caught_by(kind)}
    idle = {check.__name__ for check in CHECKS + MAIL_CHECKS} - caught

    assert idle <= {
        "a_record_either_creates_or_continues",
        "a_snapshot_of_a_turn_that_is_not_there_is_fenced",
        "a_bad_snapshot_spoils_no_other",
        "pages_that_were_cut_elsewhere_give_way",
        "every_fact_of_a_row_comes_back",
        "an_empty_batch_is_answered_with_nothing",
    }
