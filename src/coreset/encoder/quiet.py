"""What libraries say while they load, kept off the terminal."""

from __future__ import annotations

import logging
import warnings
from typing import Any


class quiet(warnings.catch_warnings):  # noqa: N801  a context manager, used like a function
    """Keep what open_clip and the hub client log and warn of off the terminal; failures raise anyway."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        self._level = logging.root.manager.disable
        logging.disable(logging.ERROR)

    def __exit__(self, *exc_info: Any) -> None:  # noqa: ANN401  passed on as it is
        logging.disable(self._level)
        super().__exit__(*exc_info)
