"""The run folder: what was asked, what was measured, and a model that predicts without torch.

::

    RUN/plan.json            what was asked: written first
    RUN/records.jsonl        every measured number, one a line, as it comes
    RUN/model/               head.safetensors, model.json, networks/N/ (IR, eager's probe, weights.safetensors)
    RUN/manifest.json        the result: written last, so its presence says that the run is whole
"""

from headway.run.read import Run, open_run

__all__ = ["Run", "open_run"]
