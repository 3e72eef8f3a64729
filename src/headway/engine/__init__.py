"""Running networks: the compiled frozen forward pass, checked against eager before it is trusted."""

import os
import sys

# Importing OpenVINO reports usage to its makers, from a process that it forks; it does not where its reporting package
# is missing, and None here says that it is.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# torch's threads spin at the end of every operation until the last of them is done. Where another process has one of
# the processors, they spin for as long as it runs: three times the processor's time, and training stalls. OpenMP reads
# this when torch is loaded, so it stands here, before that. What the user has set goes first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
