"""From a torch module to OpenVINO's graph.

The PyTorch front end is called directly: ``openvino.convert_model`` would report usage to its makers.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from headway.errors import ModelError

if TYPE_CHECKING:
    import openvino
    from torch import Tensor, nn


def convert(module: nn.Module, example: tuple[Tensor, ...], *, name: str) -> openvino.Model:
    """Trace ``module(*example)`` and convert what was traced.

    Raises:
        ModelError: the network's operations cannot be traced or converted.
    """
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing is deprecated in torch, yet the only door for every architecture
            decoder = TorchScriptPythonDecoder(
                module,
                example_input=example,
                trace_kwargs={"check_trace": False},  # eager is compared with anyway
            )
            front_end = FrontEndManager().load_by_framework("pytorch")
            return front_end.convert(front_end.load(decoder))
    except Exception as error:  # whatever the tracer or the front end meets: it is this one network that cannot be had
        raise ModelError(
            f"{name} cannot be converted for the compiled engine", given=str(error).strip().splitlines()[-1]
        ) from error
