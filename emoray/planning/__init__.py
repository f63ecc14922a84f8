"""Planning: what a batch will take, from costs that are measured on the machine at hand; without Ray."""
