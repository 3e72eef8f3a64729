"""Running networks: the compiled frozen forward pass, checked against eager before it is trusted."""
