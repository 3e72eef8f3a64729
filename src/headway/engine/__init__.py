"""Running networks: the compiled frozen forward pass, checked against eager before it is trusted."""

import sys

# Importing OpenVINO reports usage to its makers, from a process that it forks; it does not where its reporting package
# is missing, and None here says that it is.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
