"""Everything about sessions is tested on both stores."""

from pathlib import Path
from typing import cast

import pytest

from tests.runtime.places import Kind, Place


@pytest.fixture(params=["sqlite", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(cast(Kind, request.param), tmp_path)
