"""Files of other stores, and of this one before or after a restore: refused under whatever name."""

from counts import SWAPPED_STORES
from nursery import Nurseries
from tally import counted


def test_a_file_of_another_store_or_line_is_never_believed(nurseries: Nurseries) -> None:
    wrong: list[str] = []
    with counted("files of other stores and lines") as part:
        for found in nurseries.values(
            "strangers:swap_files", [{"seed": i} for i in range(SWAPPED_STORES.now)]
        ):
            assert found["tried"] > 4, found
            part.count += found["tried"]
            wrong += found["wrong"]
        part.failed(wrong)
    assert not wrong, "\n".join(wrong[:5])
