"""transformers as a guest: imported where torchvision is broken, and without its remarks and progress bars."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from headway.backbones._torchvision import prepare


@contextmanager
def quiet() -> Iterator[None]:
    """transformers may be imported and loads without a word; what it said before, it says again afterwards."""
    prepare()
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on older layouts are no news for the user
            yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
